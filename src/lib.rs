//! evidence
pub mod evidence;
