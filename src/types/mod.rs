//! Small values that every floor speaks of: ids, instants, attributes, paths as bytes, and the wire primitives.

pub mod attr;
pub mod duration;
pub mod hold;
pub mod hold_text;
pub mod ids;
pub mod json;
pub mod location;
pub mod op;
pub mod path;
pub mod role;
pub mod snapshot;
pub mod time;
pub mod when;
pub mod wire;
