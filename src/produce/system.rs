//! What the system says of itself, as files.

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::produce::command::into_file;
use crate::produce::error::{ProduceError, Produced};
use crate::produce::run::forget;
use crate::sys::{child::Order, durable};

/// What a tool may take.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A file, the tools of which the first that is there says it, and what it is.
struct Part {
    file: &'static str,
    /// Each: the program whose absence leaves it out, and the line.
    ways: &'static [(&'static str, &'static str)],
    about: &'static str,
}

const fn part(file: &'static str, ways: &'static [(&'static str, &'static str)], about: &'static str) -> Part {
    Part { file, ways, about }
}

/// All of it. What changes by itself from one look to the next is left out, so that a new version says that something happened.
const PARTS: &[Part] = &[
    part(
        "packages.txt",
        &[
            (
                "dpkg-query",
                "dpkg-query -W -f '${binary:Package}\\t${Version}\\t${db:Status-Abbrev}\\n' | LC_ALL=C sort",
            ),
            ("rpm", "rpm -qa --qf '%{NAME}\\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\\t%{ARCH}\\n' | LC_ALL=C sort"),
        ],
        "installed packages: name, version, state or architecture",
    ),
    part("packages-held.txt", &[("apt-mark", "apt-mark showhold | LC_ALL=C sort")], "packages held at their version"),
    part(
        "packages-manual.txt",
        &[("apt-mark", "apt-mark showmanual | LC_ALL=C sort")],
        "packages that somebody asked for",
    ),
    part(
        "units.txt",
        &[
            (
                "systemctl",
                "systemctl list-unit-files --no-pager --no-legend --plain 2>/dev/null || \
                 find /etc/systemd -type l -printf '%P -> %l\\n' | LC_ALL=C sort",
            ),
            ("find", "[ ! -d /etc/systemd ] || find /etc/systemd -type l -printf '%P -> %l\\n' | LC_ALL=C sort"),
        ],
        "units of systemd and whether they are enabled",
    ),
    part("users.txt", &[("getent", "getent passwd")], "users"),
    part("groups.txt", &[("getent", "getent group")], "groups"),
    part(
        "crontabs.txt",
        &[(
            "find",
            "[ ! -d /var/spool/cron ] || find /var/spool/cron -type f ! -name '*.tmp' | LC_ALL=C sort | \
            while read -r f; do printf '==> %s <==\\n' \"$f\"; cat \"$f\" || exit 1; done",
        )],
        "the crontabs of users; those of the system are in /etc",
    ),
    part("mounts.txt", &[("findmnt", "findmnt --real --list -n -o TARGET,SOURCE,FSTYPE,OPTIONS")], "what is mounted"),
    part(
        "disks.json",
        &[("lsblk", "lsblk -J -b -o NAME,KNAME,TYPE,SIZE,FSTYPE,LABEL,UUID,PARTUUID,PARTTYPE,MODEL,SERIAL,ROTA")],
        "disks, partitions and what is on them",
    ),
    part(
        "partitions.txt",
        &[(
            "sfdisk",
            "for d in $(lsblk -dnpo NAME,TYPE | awk '$2 == \"disk\" {print $1}'); do \
            [ -z \"$(lsblk -dno PTTYPE \"$d\" | tr -d ' ')\" ] || sfdisk -d \"$d\" || exit 1; done",
        )],
        "the partition tables, as sfdisk restores them",
    ),
    part(
        "sysctl.txt",
        &[(
            "sysctl",
            "sysctl -e -a 2>/dev/null | LC_ALL=C sort | grep -vE \
            '^(fs\\.(dentry-state|file-nr|inode-nr|inode-state|aio-nr|quota)|kernel\\.(random\\.|ns_last_pid|pty\\.nr|\
            sched_domain|perf_event_max_sample_rate)|net\\.netfilter\\.nf_conntrack_count|vm\\.stat_refresh|sunrpc\\.)'",
        )],
        "kernel parameters, without those that change by themselves",
    ),
    part("cmdline.txt", &[("cat", "cat /proc/cmdline")], "what the kernel was started with"),
    part("uname.txt", &[("uname", "uname -a")], "the kernel"),
    part(
        "addresses.json",
        &[("ip", "ip -j addr | sed -E 's/\"(valid|preferred)_life_time\":[0-9]+,?//g'")],
        "network addresses",
    ),
    part("routes.json", &[("ip", "ip -j route; ip -j -6 route")], "network routes"),
    part("resolv.conf", &[("cat", "[ ! -e /etc/resolv.conf ] || cat /etc/resolv.conf")], "how names are resolved"),
    part("nftables.txt", &[("nft", "nft -s list ruleset")], "the firewall, by nft"),
    part(
        "iptables.txt",
        &[("iptables-save", "iptables-save | sed -E '/^#/d; s/ \\[[0-9]+:[0-9]+\\]$//'")],
        "the firewall, by iptables",
    ),
];

/// Writes all parts into `dir`, and a file `MANIFEST` that says what each is and which are not there. A tool that is not
/// installed is no failure; one that fails is.
pub(super) fn produce(dir: &Path, stop: &AtomicBool) -> Result<Produced, ProduceError> {
    let mut produced = Produced::default();
    let mut manifest = String::from("What this system says of itself. The directory /etc is a source of its own.\n\n");
    for part in PARTS {
        let Some((_, line)) = part.ways.iter().find(|(program, _)| is_there(program)) else {
            let tools: Vec<&str> = part.ways.iter().map(|(program, _)| *program).collect();
            manifest += &format!("{}: not there, since {} is not installed here\n", part.file, tools.join(" or "));
            let gone = dir.join(part.file);
            durable::remove(&gone)?;
            continue;
        };
        manifest += &format!("{}: {}\n", part.file, part.about);
        // A pipe fails if any part of it does; not every sh knows that, and bash is where the tools are.
        let order = match is_there("bash") {
            true => Order::new("bash").args(["-o", "pipefail", "-c", line]),
            false => Order::shell(line),
        };
        let order = order.timeout(TIMEOUT).env("LC_ALL", "C").env("PATH", PATH.join(":"));
        produced.add(dir, part.file, into_file(order, dir, part.file, true, stop));
    }
    let path = dir.join("MANIFEST");
    let same = match std::fs::read(&path) {
        Ok(old) => old == manifest.as_bytes(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => false,
        Err(source) => return Err(ProduceError::Directory { path, source }),
    };
    if !same {
        durable::replace(&path, manifest.as_bytes(), 0o644)?;
    }
    produced.add(dir, "MANIFEST", Ok(!same));
    forget(dir, |name| name == "MANIFEST" || PARTS.iter().any(|part| part.file == name))?;
    Ok(produced)
}

/// Where the system's tools are.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

fn is_there(program: &str) -> bool {
    PATH.iter().any(|dir| Path::new(dir).join(program).is_file())
}
