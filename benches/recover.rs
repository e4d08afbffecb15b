//! How soon a directory of 5 GB can be used, and how long until it is a plain one: `cargo bench --bench recover [FILES [KIB]]`; as
//! root, some 15 GB in the temporary directory, which must not lie on an overlay itself. Without arguments 50,000 files of 100 KiB.
//!
//! The tree is captured, removed, and given back by the program, with cold caches. What is measured is the whole command from its
//! start until it says that the directory can be used, and then the first listing and the first read by somebody else.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1).filter(|a| !a.starts_with('-'));
    let mut number = |default: usize| args.next().map_or(Ok(default), |a| a.parse());
    let (files, kib) = (number(50_000)?, number(100)?);
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("src/data");
    fill(&data, files, kib)?;
    let settings = format!(
        "repository = {:?}\nstate = {:?}\n[key]\nfile = {:?}\n[[source]]\npath = {:?}\n",
        dir.path().join("repo"),
        dir.path().join("state"),
        dir.path().join("key"),
        dir.path().join("src")
    );
    fs::File::create(dir.path().join("bygone.toml"))
        .and_then(|mut f| std::io::Write::write_all(&mut f, settings.as_bytes()))?;
    let name = data.to_str().ok_or("the temporary directory has no name in UTF-8")?;
    run(dir.path(), &["init"])?;
    timed("captured", || run(dir.path(), &["snapshot"]))?;
    fs::remove_dir_all(&data)?;
    Command::new("sync").status()?;
    // Only root may; without it the caches are warm, which is told.
    if fs::File::create("/proc/sys/vm/drop_caches").and_then(|mut f| std::io::Write::write_all(&mut f, b"3")).is_err() {
        println!("the caches are warm");
    }
    let begun = Instant::now();
    timed("usable", || run(dir.path(), &["recover", "--instant", name, "--at", "latest"]))?;
    timed("first listing", || fs::read_dir(&data)?.try_for_each(|entry| entry.map(drop)).map_err(Into::into))?;
    timed("first read", || fs::read(data.join("0/0")).map(drop).map_err(Into::into))?;
    while beside(&data).is_some() {
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{:<14} {:8.2} s after the beginning", "plain", begun.elapsed().as_secs_f64());
    Ok(())
}

fn fill(data: &Path, files: usize, kib: usize) -> Result<()> {
    let mut bytes = vec![0; kib << 10];
    for n in 0..files {
        let parent = data.join(format!("{}", n / 1000));
        if n % 1000 == 0 {
            fs::create_dir_all(&parent)?;
        }
        blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
        let mut file = fs::File::create(parent.join(format!("{}", n % 1000)))?;
        std::io::Write::write_all(&mut file, &bytes)?;
    }
    Ok(())
}

fn run(dir: &Path, args: &[&str]) -> Result<()> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
    command.arg("-q").arg("--config").arg(dir.join("bygone.toml")).args(args).stdin(Stdio::null());
    match command.status()?.success() {
        true => Ok(()),
        false => Err(format!("{args:?} failed").into()),
    }
}

fn timed(what: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    act()?;
    println!("{what:<14} {:8.3} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// The work directory.
fn beside(data: &Path) -> Option<PathBuf> {
    let all = fs::read_dir(data.parent()?).ok()?;
    all.filter_map(|e| Some(e.ok()?.path())).find(|p| p.to_str().is_some_and(|p| p.contains(".bygone-recover-")))
}
