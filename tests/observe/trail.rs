use crate::host::Host;
use serde_json::Value;

#[test]
fn what_the_service_does_is_in_the_audit_trail() {
    let root = rustix::process::geteuid().is_root();
    let mount = if root { "[mount]\nat = \"DIR/mnt\"\n" } else { "" };
    let mut host = Host::new(&format!(
        "{mount}[schedule]\nretries = 0\n[[job]]\nname = \"check\"\nrun = \"verify\"\nschedule = \"* * * * *\"\n[[job]]\nname = \"never\"\n\
         run = \"snapshot\"\nschedule = \"30 2 1 1 *\""
    ));
    host.start();
    host.until("the first capture", |host| host.run(&["list"], 0).contains("20"));
    host.run(&["snapshot"], 0);
    let text = host.read("bygone.toml");
    host.write(
        "bygone.toml",
        &format!("{text}\n[source.retention]\ndaily = \"30d\"\n[[source]]\npath = {:?}\n", host.path("b")),
    );
    std::fs::create_dir(host.path("b")).unwrap();
    host.run(&["reload"], 0);
    std::fs::remove_dir(host.path("b")).unwrap();
    host.until("the job", |host| host.run(&["--json", "jobs"], 0).contains("no problem"));
    host.stop();
    let entries: Vec<Value> =
        host.run(&["--json", "audit", "show"], 0).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |kind: &str| -> Vec<Value> {
        let entry = |e: &&Value| e.get("entry").unwrap_or(e)["kind"] == kind;
        entries.iter().filter(entry).map(|e| e.get("entry").unwrap_or(e).clone()).collect()
    };
    let snapshots = find("snapshot");
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(snapshots.len(), 1, "{entries:?}");
    assert_eq!(snapshots[0]["details"]["asked_by_uid"], uid, "{snapshots:?}");
    assert_eq!(snapshots[0]["details"]["tier"], "incremental");
    assert_eq!(find("verify")[0]["details"]["job"], "check");
    let captures = find("captures");
    assert!(captures.iter().any(|c| c["details"]["sources"][0]["watched_from_ns"].is_i64()), "{entries:?}");
    assert_eq!(find("policy").len(), 2, "{entries:?}");
    if root {
        assert_eq!((find("mount").len(), find("unmount").len()), (1, 1), "{entries:?}");
    }
    host.run(&["audit", "verify"], 0);
}
