use crate::host::Host;
use serde_json::Value;

fn findings(host: &Host, status: i32) -> (String, Vec<String>) {
    let told: Value = serde_json::from_str(&host.run(&["--json", "health"], status)).unwrap();
    let keys = told["findings"].as_array().unwrap().iter().map(|f| f["key"].as_str().unwrap().to_owned());
    (told["state"].as_str().unwrap().to_owned(), keys.collect())
}

#[test]
fn the_exit_status_says_how_it_stands() {
    let host = Host::new("[health]\nfree = \"1 MiB\"");
    let source = format!("source {} age", host.path("a").display());
    assert_eq!(findings(&host, 1), ("failing".into(), vec![source.clone()]), "nothing was captured yet");
    host.run(&["snapshot"], 0);
    assert_eq!(host.run(&["health"], 0), "bygone OK - 1 source(s), 0 job(s), no service runs\n");
    // A key slot that can't be read.
    std::fs::write(host.path("repo/keys/00112233445566778899aabbccddeeff"), "x").unwrap();
    let told = host.run(&["health"], 3);
    assert!(told.starts_with("bygone DEGRADED - key slots: 1 key slot(s) are damaged"), "{told}");
    assert!(told.contains("\ndegraded: key slots: ") && told.contains("; to do: add a new key"), "{told}");
    // A pack that is not there.
    let pack = |name: &str| std::fs::read_dir(host.path(name)).unwrap().next().unwrap().unwrap().path();
    let (dir, aside) = (pack("repo/packs"), host.path("aside"));
    let file = std::fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
    std::fs::rename(&file, &aside).unwrap();
    assert_eq!(findings(&host, 1), ("failing".into(), vec!["packs".into(), "keys".into()]));
    host.run(&["verify"], 3);
    assert_eq!(findings(&host, 1).1, ["packs", "verify problems", "keys"]);
    std::fs::rename(&aside, &file).unwrap();
    std::fs::remove_file(host.path("repo/keys/00112233445566778899aabbccddeeff")).unwrap();
    host.run(&["verify"], 0);
    assert_eq!(findings(&host, 0).1, [""; 0]);
    // A repository that is not there.
    std::fs::rename(host.path("repo"), &aside).unwrap();
    let told = host.run(&["health"], 1);
    assert!(told.starts_with("bygone FAILING - ") && told.contains("/repo: it can't be looked at: "), "{told}");
    std::fs::rename(&aside, host.path("repo")).unwrap();
}

#[test]
fn what_is_late_or_has_no_room_is_told() {
    let host =
        Host::new("[health]\nfree = \"1048576 TiB\"\nverified-within = \"1ms\"\n[compliance]\nobjective = \"1ms\"");
    host.run(&["snapshot"], 0);
    let (state, mut keys) = findings(&host, 1);
    keys.sort();
    let source = format!("source {} age", host.path("a").display());
    assert_eq!(
        (state.as_str(), keys),
        ("failing", vec!["room repository".into(), "room state".into(), source, "verify age".into()])
    );
}

#[test]
fn a_running_service_tells_what_only_it_knows() {
    let mut host = Host::new("[health]\nfree = \"1 MiB\"");
    host.start();
    host.until("all is well", |host| host.try_run(&["health"]).status.success());
    assert_eq!(host.run(&["health"], 0), "bygone OK - 1 source(s), 0 job(s)\n");
    host.run(&["pause"], 0);
    assert_eq!(findings(&host, 3), ("degraded".into(), vec!["paused".into()]));
    host.run(&["resume"], 0);
    host.run(&["pause", "2h"], 0);
    let told = host.run(&["health"], 0);
    assert!(told.starts_with("bygone OK - 1 source(s), 0 job(s), paused until 20"), "{told}");
    host.run(&["resume"], 0);
    let text = host.read("bygone.toml");
    host.write("bygone.toml", &format!("{text}\n[[source]]\npath = {:?}\n", host.path("gone")));
    host.try_run(&["reload"]);
    assert_eq!(findings(&host, 3), ("degraded".into(), vec!["settings".into()]));
    host.stop();
}
