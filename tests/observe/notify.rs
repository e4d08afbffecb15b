use crate::{
    host::Host,
    servers::{Server, Tls},
};
use serde_json::Value;
use std::sync::atomic::Ordering;

fn settings(smtp: &Server, http: &Server) -> String {
    format!(
        "[[notify]]\nname = \"mail\"\nsmtp = \"smtp://{}\"\nfrom = \"Backups <bygone@here.example>\"\nto = [\"admin@here.example\"]\n\
         user = \"me\"\npassword-file = \"DIR/password\"\n[[notify]]\nname = \"hook\"\nwebhook = \"http://{}/hook\"\n\
         header-env = \"HOOK_SECRET\"\n[[notify]]\nname = \"run\"\ncommand = \"cat >> DIR/told; echo >> DIR/told\"\n\
         on = [\"failure\"]\n",
        smtp.address, http.address
    )
}

#[test]
fn a_failure_is_told_once_by_every_channel_and_so_is_its_end() {
    let (smtp, http) = (Server::smtp(), Server::http());
    let mut host = Host::new(&settings(&smtp, &http));
    host.write("password", "open sesame\n");
    // A source that is not there yet.
    let text = host.read("bygone.toml");
    host.write("bygone.toml", &format!("{text}\n[[source]]\npath = {:?}\n", host.path("later")));
    let events = || -> Vec<(String, String)> {
        let bodies = http.came().into_iter().map(|came| serde_json::from_str::<Value>(&came.body).unwrap());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        bodies.map(|m| (text(&m["event"]), text(&m["findings"][0]["key"]))).collect()
    };
    http.refuse.store(true, Ordering::SeqCst);
    host.start();
    let key = format!("task watch {}", host.path("later").display());
    let has = |events: Vec<(String, String)>, event: &str| events.iter().any(|(e, k)| e == event && *k == key);
    host.until("the mail", |_| smtp.came().iter().any(|mail| mail.body.contains("watch ")));
    let mail = smtp.came().into_iter().find(|mail| mail.body.contains("watch ")).unwrap();
    assert!(
        mail.body.contains("Subject: [bygone here] ") && mail.head.contains("RCPT TO:<admin@here.example>"),
        "{mail:?}"
    );
    // What AUTH PLAIN makes of the two.
    assert!(mail.head.contains("AUTH PLAIN AG1lAG9wZW4gc2VzYW1l"), "{mail:?}");
    host.until("the command", |host| host.read("told").contains(&key));
    // What can't be delivered waits, is shown, and comes later.
    host.until("it is shown", |host| {
        let text = host.run(&["status"], 0);
        text.contains("  hook: 1 notification(s) wait: http://127.0.0.1:") && text.contains("it answered 503")
    });
    assert_eq!(http.came().len(), 0);
    http.refuse.store(false, Ordering::SeqCst);
    host.until("the request", |_| has(events(), "failure"));
    assert!(http.came()[0].head.starts_with("POST /hook HTTP/1.1\r\n"), "{:?}", http.came()[0]);
    assert!(http.came()[0].head.to_ascii_lowercase().contains("x-secret: of the environment"), "{:?}", http.came()[0]);

    std::fs::create_dir(host.path("later")).unwrap();
    host.write("later/x", "it is there now");
    host.until("the end of it", |_| has(events(), "recovery"));
    let told = events();
    assert_eq!(told.iter().filter(|(_, k)| *k == key).count(), 2, "{told:?}");
    assert_eq!(host.read("told").matches(&format!("\"key\":\"{key}\"")).count(), 1);
    assert!(!host.read("told").contains("recovery"));
    let text = host.run(&["metrics"], 0);
    assert!(text.contains("bygone_notifications_total{channel=\"run\",result=\"success\"} 1\n"), "{text}");
    assert!(!host.read("log").contains("sesame") && !host.read("log").contains("of the environment"));
    host.stop();
}

#[test]
fn a_test_message_says_which_channel_works() {
    let (smtp, http) = (Server::smtp(), Server::http());
    let host = Host::new(&settings(&smtp, &http));
    host.write("password", "open sesame\n");
    assert_eq!(host.run(&["notify", "test"], 0), "mail: delivered\nhook: delivered\nrun: delivered\n");
    assert!(smtp.came()[0].body.contains("Subject: [bygone here] a test"), "{:?}", smtp.came());
    let message: Value = serde_json::from_str(&http.came()[0].body).unwrap();
    assert_eq!((&message["event"], &message["host"], &message["version"]), (&"test".into(), &"here".into(), &1.into()));
    assert!(host.read("told").starts_with("{\"version\":1,\"event\":\"test\""), "{}", host.read("told"));
    smtp.refuse.store(true, Ordering::SeqCst);
    let out = host.try_run(&["notify", "test", "mail"]);
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(1) && told.contains("nobody of this name"), "{told}");
    std::fs::remove_file(host.path("password")).unwrap();
    let out = host.try_run(&["notify", "test", "mail"]);
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(told.contains("cannot read the secret of the channel from") && told.contains("No such file"), "{told}");
    let out = host.try_run(&["notify", "test", "none"]);
    assert!(
        out.status.code() == Some(1) && String::from_utf8_lossy(&out.stderr).contains("there are: mail, hook, run")
    );
    let text = host.read("bygone.toml");
    for (bad, why) in [
        ("[[notify]]\nname = \"x\"", "exactly one of smtp, webhook and command"),
        ("[[notify]]\nsmtp = \"smtp://x\"", "needs `from`"),
        ("[[notify]]\nwebhook = \"ftp://x\"", "begins with http:// or https://"),
        ("[metrics]\nlisten = \"9841\"", "an IP address and a port"),
    ] {
        host.write("bygone.toml", &format!("{text}\n{bad}\n"));
        let out = host.try_run(&["config", "check"]);
        let told = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
        assert!(!out.status.success() && told.contains(why), "{bad}: {told}");
    }
}

#[test]
fn over_tls_only_who_is_trusted_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::new(dir.path());
    let (implicit, starttls, https) = (Server::smtps(&tls), Server::starttls(&tls), Server::https(&tls));
    let settings = |more: &str| {
        let mail = |name: &str, url: String| {
            format!(
                "[[notify]]\nname = \"{name}\"\nsmtp = \"{url}\"\nfrom = \"b@here.example\"\nto = [\"a@here.example\"]\n\
                 user = \"me\"\npassword-file = \"DIR/password\"\n{more}"
            )
        };
        let implicit = mail("implicit", format!("smtps://{}", implicit.address));
        let starttls = mail("starttls", format!("smtp://{}?tls=required", starttls.address));
        let hook = format!("[[notify]]\nname = \"hook\"\nwebhook = \"https://{}/x\"\n{more}", https.address);
        implicit + &starttls + &hook
    };
    let stranger = Host::new(&settings(""));
    stranger.write("password", "open sesame\n");
    for channel in ["implicit", "starttls", "hook"] {
        let out = stranger.try_run(&["notify", "test", channel]);
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(1) && told.contains("does not trust who issued"), "{channel}: {told}");
        assert!(told.contains("ca-file"), "{channel}: {told}");
    }
    assert!([&implicit, &starttls, &https].iter().all(|server| server.came().is_empty()));

    let ca = format!("ca-file = {:?}\n", dir.path().join("ca.pem"));
    let host = Host::new(&settings(&ca));
    host.write("password", "open sesame\n");
    assert_eq!(host.run(&["notify", "test"], 0), "implicit: delivered\nstarttls: delivered\nhook: delivered\n");
    for server in [&implicit, &starttls] {
        let came = server.came();
        assert!(came.len() == 1 && came[0].head.contains("AUTH PLAIN"), "{came:?}");
    }
    assert!(https.came()[0].body.contains("\"event\":\"test\""));

    // What is no certificate is told by its name.
    let text = host.read("bygone.toml");
    host.write("bygone.toml", &text.replace("ca.pem", "ext"));
    let told = String::from_utf8_lossy(&host.try_run(&["notify", "test", "hook"]).stderr).into_owned();
    assert!(told.contains("/ext") && told.contains("no certificate"), "{told}");
}
