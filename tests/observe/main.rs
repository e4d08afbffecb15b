//! Bygone as those see it who watch over it: metrics, health, notifications and the audit trail of the service.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

mod exposition;
mod host;
mod metrics;
mod notify;
mod servers;
mod states;
mod trail;
