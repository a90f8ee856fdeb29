//! JUnit XML reports of a step: read, counted anew, and told in observations that cite the file.
//!
//! There is no one format: Surefire, Gradle, pytest, Jest, PHPUnit, gotestsum, nextest and others write dialects of it. What is read is
//! what they share. Numbers are counted here; where the file says others, its numbers are told beside as `stated`.

mod attributes;
mod found;
mod members;
mod parse;
mod report;
mod text;

#[cfg(test)]
mod tests;

pub(crate) use found::read_reports;
