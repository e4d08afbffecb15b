//! What each command needs of the key that opens the repository: it is refused at once where that has another role.

use super::args::dr::Dr;
use super::args::drill::Drill;
use super::args::evidence::{Audit, Hold};
use super::args::setup::Key;
use super::args::top::Command;
use super::args::wal::Wal;
use crate::types::role::Need;

/// What this command needs.
pub fn of(command: &Command) -> Need {
    match command {
        Command::Cat(_) | Command::Restore(_) | Command::Mount(_) | Command::Wal(Wal::Fetch(_)) => Need::Content,
        Command::Recover(args) if args.instant.is_some() || args.resume.is_some() => Need::Content,
        Command::Hold(Hold::Export(_)) => Need::Content,
        Command::VerifyTree(args) if args.check_receipt.is_none() => Need::Known,
        Command::Verify(args) if args.read_data => Need::Content,
        Command::Snapshot(_) | Command::Watch(_) | Command::Protect(_) => Need::Capture,
        Command::Hold(Hold::Place(_) | Hold::Lengthen(_) | Hold::Release(_)) => Need::Holds,
        Command::Maintain(_) | Command::Repair(_) => Need::Collect,
        Command::Audit(Audit::Verify(args)) if args.accept => Need::Collect,
        Command::Drill(Drill::Run(_)) | Command::Dr(Dr::Test(_)) => Need::Content,
        Command::Dr(Dr::Failover(_) | Dr::Failback(_) | Dr::Rejoin(_)) => Need::Capture,
        Command::Kit(args) if args.with_key => Need::Keys,
        Command::Key(Key::Add(_) | Key::Remove(_) | Key::Rotate | Key::Export(_)) => Need::Keys,
        // They read what the repository says of itself, or no repository at all. The tasks of the service are refused one by one.
        Command::Init(_)
        | Command::Key(Key::List)
        | Command::Source(_)
        | Command::Config(_)
        | Command::Umount(_)
        | Command::List(_)
        | Command::Log(_)
        | Command::Diff(_)
        | Command::Find(_)
        | Command::Retention(_)
        | Command::Hold(Hold::List(_) | Hold::Show(_))
        | Command::Audit(_)
        | Command::Report(_)
        | Command::Verify(_)
        | Command::VerifyTree(_)
        | Command::Aside(_)
        | Command::Kit(_)
        | Command::Disaster(_)
        | Command::Drill(_)
        | Command::Dr(Dr::Status(_))
        | Command::Plan(_)
        | Command::Recover(_)
        | Command::Replicate(_)
        | Command::Sites(_)
        | Command::Daemon(_)
        | Command::Reload(_)
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::Jobs(_)
        | Command::Job(_)
        | Command::Schedule(_)
        | Command::Wal(Wal::Push(_))
        | Command::Index(_)
        | Command::Status(_)
        | Command::Health(_)
        | Command::Metrics(_)
        | Command::Notify(_)
        | Command::Completions(_) => Need::Structure,
    }
}

/// Whether it writes into the repository more than an entry of the audit trail.
pub fn writes(command: &Command) -> bool {
    match command {
        Command::Key(Key::Export(_)) | Command::Kit(_) => false,
        Command::Replicate(_) | Command::Daemon(_) | Command::Wal(Wal::Push(_)) => true,
        Command::Verify(args) if args.repair => true,
        _ => matches!(of(command), Need::Capture | Need::Keys | Need::Holds | Need::Collect),
    }
}
