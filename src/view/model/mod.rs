//! History against a plain model: random operations through the writer, and every question asked of both.

mod check;
mod oracle;
mod world;
