//! Simulated disasters: each breaks a repository of its own, does what the documentation says, and compares with the truth.

use super::scene::Scene;
use crate::sys::{apart, durable};
use serde::Serialize;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disaster {
    /// The state directory is gone.
    LostIndex,
    /// The machine is gone: its files, settings and state.
    LostHost,
    /// The repository is gone.
    LostSite,
    /// Bits of packs are others.
    DamagedPacks,
    /// Nothing can be written to the store.
    ReadOnlyStore,
    /// The store has lost what it had confirmed.
    LyingStore,
    /// The store lets nobody in any more.
    ExpiredCredentials,
    /// Somebody has encrypted the files.
    EncryptedFiles,
    /// The clock was wrong.
    WrongClock,
    /// The key is gone, and is on paper.
    KeyLostWithPaper,
    /// The key is gone, and is nowhere.
    KeyLostWithoutPaper,
}

/// How a rehearsal ended.
#[derive(Debug, Clone, Serialize)]
pub struct Rehearsed {
    /// What happened.
    pub disaster: Disaster,
    /// What was broken.
    pub broken: String,
    /// What was done about it.
    pub done: Vec<String>,
    /// Whether everything came back.
    pub recovered: bool,
    /// So many files were compared with the truth, byte for byte.
    pub files: u64,
    /// What it comes to.
    pub told: String,
}

impl Disaster {
    /// All of them.
    pub const ALL: [Disaster; 11] = [
        Disaster::LostIndex,
        Disaster::LostHost,
        Disaster::LostSite,
        Disaster::DamagedPacks,
        Disaster::ReadOnlyStore,
        Disaster::LyingStore,
        Disaster::ExpiredCredentials,
        Disaster::EncryptedFiles,
        Disaster::WrongClock,
        Disaster::KeyLostWithPaper,
        Disaster::KeyLostWithoutPaper,
    ];

    /// Its word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Disaster::LostIndex => "lost-index",
            Disaster::LostHost => "lost-host",
            Disaster::LostSite => "lost-site",
            Disaster::DamagedPacks => "damaged-packs",
            Disaster::ReadOnlyStore => "read-only-store",
            Disaster::LyingStore => "lying-store",
            Disaster::ExpiredCredentials => "expired-credentials",
            Disaster::EncryptedFiles => "encrypted-files",
            Disaster::WrongClock => "wrong-clock",
            Disaster::KeyLostWithPaper => "key-lost-with-paper",
            Disaster::KeyLostWithoutPaper => "key-lost-without-paper",
        }
    }

    /// The disaster of a word.
    pub fn parse(word: &str) -> Option<Disaster> {
        Disaster::ALL.into_iter().find(|d| d.word() == word)
    }

    /// What is broken, in words.
    pub fn broken(self) -> &'static str {
        match self {
            Disaster::LostIndex => "the state directory with the index is removed",
            Disaster::LostHost => {
                "the files, the settings and the state directory are removed: what is left is the repository and a key"
            }
            Disaster::LostSite => "the repository is removed; there is a copy at another site",
            Disaster::DamagedPacks => "a byte of every pack is another; there is a copy at another site",
            Disaster::ReadOnlyStore => "nothing can be written to the repository any more",
            Disaster::LyingStore => {
                "packs that the store had confirmed are gone or empty; there is a copy at another site"
            }
            Disaster::ExpiredCredentials => {
                "the store answers that the credentials have expired; there is a copy at another site"
            }
            Disaster::EncryptedFiles => "every file is overwritten with noise, and that was captured",
            Disaster::WrongClock => "a snapshot was taken while the clock was three days ahead",
            Disaster::KeyLostWithPaper => "the key file is removed; a key was printed before",
            Disaster::KeyLostWithoutPaper => "the key file is removed, and there is no other key",
        }
    }
}

/// Rehearses one, in a directory that must not be there yet. An error says what was not as the documentation says.
pub fn rehearse(program: &Path, dir: &Path, disaster: Disaster) -> Result<Rehearsed, String> {
    let mut scene = Scene::new(program, dir)?;
    let recovered = disaster != Disaster::KeyLostWithoutPaper;
    let (files, told) = match disaster {
        Disaster::LostIndex => lost_index(&mut scene)?,
        Disaster::LostHost => lost_host(&mut scene)?,
        Disaster::LostSite => lost_site(&mut scene)?,
        Disaster::DamagedPacks => damaged(&mut scene, &flip)?,
        Disaster::LyingStore => damaged(&mut scene, &lose)?,
        Disaster::ReadOnlyStore => read_only(&mut scene)?,
        Disaster::ExpiredCredentials => expired(&mut scene)?,
        Disaster::EncryptedFiles => encrypted(&mut scene)?,
        Disaster::WrongClock => wrong_clock(&mut scene)?,
        Disaster::KeyLostWithPaper => with_paper(&mut scene)?,
        Disaster::KeyLostWithoutPaper => without_paper(&mut scene)?,
    };
    let done = std::mem::take(&mut scene.done);
    Ok(Rehearsed { disaster, broken: disaster.broken().to_owned(), done, recovered, files, told: told.to_owned() })
}

type Came = Result<(u64, &'static str), String>;

fn lost_index(scene: &mut Scene) -> Came {
    scene.lose("state")?;
    scene.good(&["index", "rebuild"])?;
    Ok((scene.recovered(&[], "latest")?, "the index was rebuilt from the repository"))
}

fn lost_host(scene: &mut Scene) -> Came {
    scene.lose("state")?;
    scene.lose("root")?;
    scene.settings("repository = \"DIR/repo\"\n", "[key]\nfile = \"DIR/key\"\n", "state-of-the-new-machine")?;
    Ok((scene.recovered(&[], "latest")?, "a new machine, the repository and the key brought everything back"))
}

fn lost_site(scene: &mut Scene) -> Came {
    scene.lose("repo")?;
    scene.ends(&["verify"], &[1, 3])?;
    let copy = scene.text("copy");
    Ok((scene.recovered(&["--repo", &copy], "latest")?, "the copy at the other site has everything"))
}

fn flip(path: &Path, _n: usize) -> Result<(), String> {
    let mut bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let at = bytes.len() / 3;
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 0x40;
    }
    durable::replace(path, &bytes, 0o600).map_err(|e| e.to_string())
}

fn lose(path: &Path, n: usize) -> Result<(), String> {
    match n % 2 {
        0 => durable::remove(path).map(drop).map_err(|e| e.to_string()),
        _ => durable::replace(path, b"", 0o600).map_err(|e| e.to_string()),
    }
}

fn damaged(scene: &mut Scene, damage: &dyn Fn(&Path, usize) -> Result<(), String>) -> Came {
    for (n, pack) in scene.packs()?.iter().enumerate() {
        damage(pack, n)?;
    }
    scene.ends(&["verify", "--read-data"], &[1, 3])?;
    scene.ends(&["verify", "--read-data", "--against", "far", "--repair"], &[0, 3])?;
    scene.good(&["verify", "--read-data"])?;
    Ok((scene.recovered(&[], "latest")?, "the damage was named, and put back from the copy"))
}

fn read_only(scene: &mut Scene) -> Came {
    if crate::sys::process::effective_uid() != 0 {
        return Err("this one takes root: nothing else makes a directory read-only for a program".into());
    }
    apart::confine(&[scene.at("repo")]).map_err(|e| format!("cannot make the repository read-only: {e}"))?;
    scene.write("root/later", b"cannot be captured")?;
    scene.ends(&["snapshot"], &[1])?;
    durable::remove(&scene.at("root/later")).map_err(|e| e.to_string())?;
    let files = scene.recovered(&[], "latest")?;
    Ok((
        files,
        "what had been captured comes back; what changes is not captured until the store can be written, and that was said",
    ))
}

fn expired(scene: &mut Scene) -> Came {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| format!("cannot listen: {e}"))?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    // It answers for as long as the process lives, which is not long.
    std::thread::Builder::new()
        .name("store".into())
        .spawn(move || listener.incoming().flatten().for_each(refuse))
        .map_err(|e| format!("cannot start a thread: {e}"))?;
    let store = format!(
        "repository = \"s3://rehearsal/repository\"\n[remote]\nendpoint = \"http://127.0.0.1:{port}\"\nregion = \"x\"\n"
    );
    let (bucket, remote) = store.split_once('\n').unwrap_or((&store, ""));
    scene.settings(&format!("{bucket}\n"), &format!("[key]\nfile = \"DIR/key\"\n{remote}"), "state")?;
    scene.env("AWS_ACCESS_KEY_ID", "expired");
    scene.env("AWS_SECRET_ACCESS_KEY", "expired");
    let said = scene.ends(&["verify"], &[1, 3])?;
    if !format!("{}{}", said.out, said.err).contains("ExpiredToken") {
        return Err(format!("it was not said that the credentials have expired: {}{}", said.out, said.err));
    }
    let copy = scene.text("copy");
    let files = scene.recovered(&["--repo", &copy], "latest")?;
    Ok((files, "until the credentials are renewed, the copy at the other site has everything"))
}

fn refuse(mut stream: TcpStream) {
    const BODY: &str = "<?xml version=\"1.0\"?><Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>";
    let mut request = [0; 4096];
    // A client that has gone needs no answer.
    if stream.read(&mut request).is_ok_and(|n| n > 0) {
        let head = format!(
            "HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            BODY.len()
        );
        let _unheard = stream.write_all(format!("{head}{BODY}").as_bytes());
    }
}

fn encrypted(scene: &mut Scene) -> Came {
    let said = scene.good(&["--json", "list"])?;
    let first: serde_json::Value =
        serde_json::from_str(said.out.lines().next().unwrap_or_default()).map_err(|e| e.to_string())?;
    let at = first["time"].as_str().or(first["snapshot"]["time"].as_str()).unwrap_or_default().to_owned();
    for entry in 0..5 {
        let dir = scene.at(&format!("root/part-{entry}"));
        for file in std::fs::read_dir(&dir).map_err(|e| e.to_string())? {
            let path = file.map_err(|e| e.to_string())?.path();
            let noise = blake3::hash(path.to_string_lossy().as_bytes()).as_bytes().repeat(40);
            durable::replace(&path, &noise, 0o600).map_err(|e| e.to_string())?;
        }
    }
    scene.write("root/README-TO-PAY", b"pay")?;
    scene.good(&["snapshot"])?;
    let root = scene.text("root");
    scene.good(&["restore", &root, "--at", &at, "--in-place", "--delete"])?;
    let files = scene.same(&scene.at("root"))?;
    Ok((
        files,
        "the instant before it came back in place; what the attacker left is in history, for those who examine it",
    ))
}

fn wrong_clock(scene: &mut Scene) -> Came {
    super::ahead::capture(&scene.at("bygone.toml"), &scene.at("root"), &scene.at("key"))?;
    scene.write("root/later", b"captured when the clock was right again")?;
    scene.write("truth/later", b"captured when the clock was right again")?;
    scene.good(&["snapshot"])?;
    scene.good(&["verify"])?;
    let files = scene.recovered(&[], "latest")?;
    Ok((
        files,
        "snapshots stand in the order in which they were taken, the later ones just behind the one from the future; `latest` is the last",
    ))
}

fn with_paper(scene: &mut Scene) -> Came {
    let page = scene.text("paper");
    scene.good(&["key", "export", "--output", &page])?;
    durable::remove(&scene.at("key")).map_err(|e| e.to_string())?;
    scene.ends(&["verify"], &[1])?;
    // The page is typed again, or scanned: as a file it is a key file.
    scene.settings("repository = \"DIR/repo\"\n", "[key]\nfile = \"DIR/paper\"\n", "state")?;
    Ok((scene.recovered(&[], "latest")?, "the key on the page opened the repository"))
}

fn without_paper(scene: &mut Scene) -> Came {
    durable::remove(&scene.at("key")).map_err(|e| e.to_string())?;
    scene.ends(&["verify"], &[1])?;
    scene.write("typed", b"a guess\n")?;
    scene.settings("repository = \"DIR/repo\"\n", "[key]\npassphrase-file = \"DIR/typed\"\n", "state")?;
    scene.ends(&["verify"], &[1])?;
    let copy = scene.text("copy");
    scene.ends(&["--repo", &copy, "verify"], &[1])?;
    Ok((
        0,
        "nothing helps: without a key neither the repository nor any copy of it can be read, by anybody; export a key to paper",
    ))
}
