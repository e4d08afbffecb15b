//! Times as people write and read them: time zones, names of time, human forms, and rendering.
//!
//! A name denotes the **end of the period it names**: the last nanosecond before the next period begins, in the given zone
//! unless the name carries its own offset. `name` is the strict grammar of a view, `human` the wider one of the command
//! line, `show` the way back, `wall` the calendar for those who go through it day by day, and `zone` holds the rules about changes of the clock:
//!
//! - A day may have 23 or 25 hours; days, months and years abut exactly.
//! - Local times that occur twice (the clock was put back) denote their **later** occurrence, so that everything called by
//!   that name is over. An offset, as in `2025-10-26T02:30+02:00`, picks the other one.
//! - Local times that never occurred (the clock was put forward) are shifted by the length of the gap: where 02:00 became
//!   03:00, `02:30` means what `03:30` means.

pub mod human;
pub mod name;
pub mod period;
pub mod show;
pub mod wall;
pub mod window;
pub mod zone;
