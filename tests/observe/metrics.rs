use crate::{exposition, host::Host};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

/// A port that nobody has now.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn say(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // It may stop listening in the middle.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn scrape(port: u16) -> String {
    let answer = say(port, b"GET /metrics HTTP/1.1\r\nHost: here\r\nAccept: */*\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{head}"
    );
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    body.to_owned()
}

/// What the tool of Prometheus itself says of a text, where there is one.
fn promtool(text: &str) {
    let Ok(mut child) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        eprintln!("not tested with promtool: it is not there");
        return;
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.trim().is_empty(), "{}: {said}", out.status);
}

#[test]
fn a_service_serves_them_and_the_command_prints_the_same() {
    let port = free_port();
    let mut host = Host::new(&format!(
        "[metrics]\nlisten = \"127.0.0.1:{port}\"\n[compliance]\nobjective = \"1h\"\n[[job]]\nname = \"check\"\nrun = \"verify\"\nschedule = \"weekly\""
    ));
    host.run(&["verify", "--read-data"], 0);
    host.start();
    let of_source = |name: &str, host: &Host| {
        format!("bygone_source_{name}{{host=\"here\",source=\"{}\"}}", host.path("a").display())
    };
    // The first capture may come after the first scrape.
    host.until("the capture", |host| {
        let text = host.run(&["metrics"], 0);
        exposition::read(&text)[&of_source("snapshots", host)] >= 1.0
    });
    host.until("the port", |_| TcpStream::connect(("127.0.0.1", port)).is_ok());
    let text = scrape(port);
    promtool(&text);
    let samples = exposition::read(&text);
    for (name, value) in [
        ("bygone_up", 1.0),
        ("bygone_paused", 0.0),
        ("bygone_store_reachable", 1.0),
        ("bygone_verify_problems", 0.0),
        ("bygone_verify_coverage_ratio{days=\"30\"}", 1.0),
        ("bygone_job_failing{job_name=\"check\",run=\"verify\"}", 0.0),
        ("bygone_repository_lost_packs", 0.0),
        ("bygone_repository_key_slots", 1.0),
        (&of_source("objective_seconds", &host), 3600.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name} in\n{text}");
    }
    assert!(samples[&of_source("lag_seconds", &host)] < 3600.0 && samples["bygone_index_bytes"] > 0.0);

    host.run(&["pause"], 0);
    assert_eq!(exposition::read(&host.run(&["metrics"], 0))["bygone_paused"], 1.0);
    let file = host.path("bygone.prom");
    host.run(&["metrics", "--out", file.to_str().unwrap()], 0);
    assert_eq!(exposition::read(&host.read("bygone.prom"))["bygone_paused"], 1.0);
    host.stop();
    let text = host.run(&["metrics"], 0);
    promtool(&text);
    let alone = exposition::read(&text);
    assert_eq!((alone["bygone_up"], alone.get("bygone_paused")), (0.0, None));
    assert!(alone[&of_source("snapshots", &host)] >= 1.0);
}

#[test]
fn whatever_is_asked_it_goes_on() {
    let port = free_port();
    let mut host = Host::new(&format!("[metrics]\nlisten = \"127.0.0.1:{port}\""));
    host.start();
    host.until("the port", |_| TcpStream::connect(("127.0.0.1", port)).is_ok());
    let status = |bytes: &[u8]| say(port, bytes).split(' ').nth(1).unwrap_or_default().to_owned();
    assert_eq!(status(b"GET / HTTP/1.1\r\n\r\n"), "404");
    assert_eq!(status(b"POST /metrics HTTP/1.1\r\n\r\n"), "405");
    assert_eq!(status(b"\x16\x03\x01 hello\r\n\r\n"), "400");
    let head = say(port, b"HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.ends_with("\r\n\r\n"), "{head}");
    let long = [b"GET /metrics HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 200_000]].concat();
    // The connection may be reset before the answer is read.
    assert!(["431", ""].contains(&status(&long).as_str()));
    // Those who say nothing hold a place for a time, and not all others for ever.
    let silent: Vec<TcpStream> = (0..12).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    exposition::read(&scrape(port));
    drop(silent);
    host.stop();
}

#[test]
fn the_rules_are_as_prometheus_has_them() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus");
    let rules = std::fs::read_to_string(dir.join("bygone.rules.yml")).unwrap();
    // What they name is served.
    let served = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/observe/metrics.rs")).unwrap();
    for (at, _) in rules.match_indices("bygone_") {
        let name: String = rules[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let short = ["bygone_source_", "bygone_job_", "bygone_repository_", "bygone_site_", "bygone_drill_"]
            .iter()
            .find_map(|p| name.strip_prefix(p));
        let is_there = |text: &str| served.contains(&format!("\"{text}\""));
        assert!(is_there(&name) || short.is_some_and(is_there), "{name} is not served");
    }
    for args in [["check", "rules", "bygone.rules.yml"], ["test", "rules", "bygone.rules.test.yml"]] {
        match Command::new("promtool").args(args).current_dir(&dir).output() {
            Ok(out) => assert!(out.status.success(), "{out:?}"),
            Err(_) => eprintln!("not tested with promtool: it is not there"),
        }
    }
}
