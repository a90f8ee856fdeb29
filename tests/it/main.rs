//! One integration binary, a file per concern.

mod vectors;
