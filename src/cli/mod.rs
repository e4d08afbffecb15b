//! The command line: the only room that prints, prompts, or reads the environment.

pub mod args;
mod background;
pub mod bar;
pub mod commands;
pub mod config_file;
pub mod context;
mod elsewhere;
pub mod logging;
pub mod man;
pub mod needs;
pub mod open;
pub mod out;
pub mod outcome;
pub mod past;
pub mod run;
pub mod secret;
pub mod service;
pub mod sizes;
pub mod trail;
