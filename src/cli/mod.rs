//! The command line: the only room that prints, prompts, or reads the environment.

pub mod bar;
pub mod sizes;
