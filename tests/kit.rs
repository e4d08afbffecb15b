//! The recovery kit, and a machine that has nothing but it and a key.

#![allow(clippy::disallowed_methods, reason = "a test makes and changes files as any program does")]

mod common;

use common::tree::describe;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Machine {
    home: PathBuf,
}

impl Machine {
    fn ended(&self, status: i32, args: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command
            .args(args)
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        // As root, the settings are where these say; nothing of the real machine is looked at.
        let out = command.current_dir(&self.home).stdin(Stdio::null()).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.status.code(), Some(status), "{args:?}: {text}");
        text
    }

    fn config(&self) -> PathBuf {
        self.home.join("bygone.toml")
    }

    /// With its settings.
    fn run(&self, status: i32, args: &[&str]) -> String {
        self.ended(status, &[&["--config", s(&self.config())], args].concat())
    }
}

fn s(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn a_bare_machine_recovers_from_the_kit_and_a_key() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().canonicalize().unwrap();
    let first = Machine { home: dir.join("first") };
    let src = dir.join("src");
    fs::create_dir_all(src.join("deep")).unwrap();
    fs::write(src.join("deep/file"), "what was worth keeping").unwrap();
    fs::create_dir_all(first.home.join("plans")).unwrap();
    let settings = format!(
        "# ours\nrepository = {:?}\nstate = {:?}\nhost = \"pluto\"\n[key]\npassphrase-command = \"echo sesame-of-pluto\"\n[[source]]\npath = {:?}\n\
         [[site]]\nname = \"far\"\nrepository = {:?}\n[[notify]]\nname = \"ops\"\nwebhook = \"http://127.0.0.1:1/token-of-the-hook\"\n",
        dir.join("repo"),
        first.home.join("state"),
        src,
        dir.join("far")
    );
    fs::write(first.config(), settings).unwrap();
    let plan = "about = \"Brings the source back.\"\n[input.to]\ntype = \"path\"\n[[step]]\nname = \"files\"\nkind = \"restore\"\npaths = [\"/\"]\nto = \"${to}\"\n";
    fs::write(first.home.join("plans/back.toml"), plan).unwrap();
    first.run(0, &["init"]);
    first.run(0, &["snapshot"]);
    first.run(0, &["key", "export", "--output", s(&dir.join("paper")), "--label", "paper, in the safe of room 3"]);
    // A key opens a copy once its slot is there.
    first.run(0, &["replicate"]);
    let kit = dir.join("kit");
    let told = first.run(0, &["kit", "--to", s(&kit)]);
    assert!(told.contains("print kit.html"), "{told}");
    // It says all that is needed, and no secret.
    let page = text(&kit.join("kit.html"));
    for said in [
        "paper, in the safe of room 3",
        s(&dir.join("far")),
        "bygone recover --repo",
        "Plan back",
        "pluto",
        "Fingerprint",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert!(page.contains("bygone plan run plans/back.toml --at latest --set to=PATH --dry-run"), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://"), "it needs nothing else: {page}");
    // The key on the page, two rows of seven groups.
    let paper = text(&dir.join("paper"));
    let rows: Vec<&str> = paper.lines().map(str::trim).filter(|line| line.matches('-').count() == 6).collect();
    assert_eq!(rows.len(), 2, "{paper}");
    for name in ["kit.html", "kit.json", "README.txt", "bygone.toml", "plans/back.toml"] {
        let content = text(&kit.join(name));
        for secret in ["sesame-of-pluto", "token-of-the-hook", rows[0], rows[1]] {
            assert!(!content.contains(secret), "{name} holds {secret}");
        }
    }
    let bare = text(&kit.join("bygone.toml"));
    assert!(
        bare.contains("# ours") && bare.contains("file = \"/root/bygone.key\"") && !bare.contains("notify"),
        "{bare}"
    );
    assert!(first.run(1, &["kit", "--to", s(&kit)]).contains("is not empty"));

    // Everything of the first machine and the repository are gone: the copy, the kit and the paper are left.
    let before = describe(&src);
    for gone in ["repo", "first", "src"] {
        fs::remove_dir_all(dir.join(gone)).unwrap();
    }
    let second = Machine { home: dir.join("second") };
    fs::create_dir(&second.home).unwrap();
    let state = second.home.join("state");
    fs::write(second.config(), format!("state = {state:?}\n")).unwrap();
    let told = second
        .run(0, &["--repo", s(&dir.join("far")), "recover", "--key-file", s(&dir.join("paper")), "--host", "pluto"]);
    let fingerprint =
        serde_json::from_str::<serde_json::Value>(&text(&kit.join("kit.json"))).unwrap()["fingerprint"].clone();
    assert!(told.contains(fingerprint.as_str().unwrap()) && told.contains("on pluto: up to"), "{told}");
    assert!(told.contains("is there already, and was left as it is"), "{told}");
    let settings = format!(
        "state = {state:?}\nhost = \"pluto\"\nrepository = {:?}\n[key]\nfile = {:?}\n",
        dir.join("far"),
        dir.join("paper")
    );
    fs::write(second.config(), settings).unwrap();
    second.run(0, &["restore", "--all", "--at", "latest", "--to", s(&dir.join("back"))]);
    let back = dir.join("back").join(src.strip_prefix("/").unwrap());
    assert_eq!(describe(&back), before);
    let to = format!("to={}", dir.join("by-plan").display());
    second.run(0, &["plan", "run", s(&kit.join("plans/back.toml")), "--at", "latest", "--set", &to]);
    assert_eq!(describe(&dir.join("by-plan").join(src.strip_prefix("/").unwrap())), before);
    // The program in the kit is one that runs.
    let version = Command::new(kit.join("bygone")).arg("--version").output().unwrap();
    assert!(version.status.success());
}

#[test]
fn without_settings_recover_writes_them() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().canonicalize().unwrap();
    let first = Machine { home: dir.join("first") };
    fs::create_dir_all(first.home.join("src")).unwrap();
    fs::write(first.home.join("src/file"), "x").unwrap();
    let settings = format!(
        "repository = {:?}\nstate = {:?}\nhost = \"pluto\"\n[key]\nfile = {:?}\n[[source]]\npath = {:?}\n",
        dir.join("repo"),
        first.home.join("state"),
        dir.join("key"),
        first.home.join("src")
    );
    fs::write(first.config(), settings).unwrap();
    first.run(0, &["init"]);
    first.run(0, &["snapshot"]);
    // As another user, so that settings and state are below the home.
    let home = dir.join("home");
    fs::create_dir(&home).unwrap();
    let own =
        |dir: &Path| assert!(Command::new("chown").arg("-R").arg("65534:65534").arg(dir).status().unwrap().success());
    [home.clone(), dir.join("repo"), dir.join("key")].iter().for_each(|dir| own(dir));
    let bin = dir.join("bygone");
    fs::copy(env!("CARGO_BIN_EXE_bygone"), &bin).unwrap();
    std::os::unix::fs::chown(&dir, Some(65534), Some(65534)).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&bin).args(args);
        let out = command.env_clear().env("HOME", &home).current_dir(&home).stdin(Stdio::null()).output().unwrap();
        (out.status.code(), format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
    };
    let (status, told) = run(&["recover", "--repo", s(&dir.join("repo")), "--key-file", s(&dir.join("key"))]);
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains("this machine is the host pluto from now on"), "{told}");
    let (status, told) = run(&["cat", s(&first.home.join("src/file"))]);
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains('x'), "{told}");
    let (status, told) = run(&["recover"]);
    assert_eq!(status, Some(2), "{told}");
    // Also where somebody says where the settings are to be.
    let new = home.join("new/bygone.toml");
    let (repo, key) = (dir.join("repo"), dir.join("key"));
    let (status, told) = run(&["--config", s(&new), "recover", "--repo", s(&repo), "--key-file", s(&key)]);
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains(&format!("wrote {}", new.display())), "{told}");
    let (status, told) = run(&["--config", s(&new), "cat", s(&first.home.join("src/file"))]);
    assert_eq!(status, Some(0), "{told}");
    // Nobody who has to recover is told to make a repository.
    for config in [s(&new), s(&home.join("none.toml"))] {
        let (status, told) =
            run(&["--config", config, "recover", "--repo", s(&dir.join("nothing")), "--key-file", s(&key)]);
        assert_eq!(status, Some(1), "{told}");
        assert!(told.contains("check the place that --repo names"), "{told}");
        assert!(!told.contains("bygone init") && !told.contains("bygone protect"), "{told}");
    }
}
