//! A command as a step: run it, and tell what it did in elements.

mod artifact;
mod child;
mod described;
mod detect;
mod junit;
mod log;
mod names;
mod recording;

pub(crate) use artifact::ArtifactFile;
pub(crate) use child::{
    Ended, Execution, Sink, end_on_second_signal, end_on_signal, run, signaled, survive_file_limits,
};
pub(crate) use described::{Reach, described};
pub(crate) use detect::{Detected, Environment, Subject, checkout, detect};
pub(crate) use log::Log;
pub(crate) use names::path_id;
pub(crate) use recording::{Command, Recording, Surroundings};
