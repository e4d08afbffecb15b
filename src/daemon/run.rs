//! The life of the service.

use crate::config::model::Config;
use crate::daemon::{
    control,
    error::DaemonError,
    host::Host,
    reload,
    shared::{Current, Shared},
    supervisor::{Order, Supervisor},
    watchdog,
};
use crate::sys::{
    clock::SystemClock,
    durable::{self, LockGuard},
    local,
    service::{self, Asked, Notify, Started},
};
use std::{
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;

/// Threads that only wait for one another's messages: what takes long runs in threads of its own.
const WORKERS: usize = 2;
/// Captures, jobs, and who is being answered.
const BLOCKING: usize = 512;

/// How the service ended: the names of what did not end in time, and goes with the process.
pub type Left = Vec<String>;

/// Runs the service in the foreground until a signal ends it. `started` is what the environment says of whoever started it.
///
/// Fails where the settings can't be used, the repository can't be opened, or another service has the state directory or the
/// socket.
pub fn run(host: Arc<dyn Host>, started: &Started) -> Result<Left, DaemonError> {
    let failed = |doing| move |source| DaemonError::Process { doing, source };
    let notify = Arc::new(Notify::new(started).map_err(failed("tell the service manager how it stands"))?);
    let (to, orders) = mpsc::unbounded_channel();
    let signals = to.clone();
    service::on_signals(move |asked| {
        // The main loop has ended already: nothing is left to ask of it.
        let _gone = signals.send(if asked == Asked::Reload { Order::Reload(None) } else { Order::Stop });
    })
    .map_err(failed("take signals over"))?;
    let config = host.load().map_err(DaemonError::Refused)?;
    let (dir, _lock) = take(&config.state)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_name("service")
        .enable_all()
        .build()
        .map_err(failed("start the service's threads"))?;
    let left = runtime.block_on(serve(host, config, &dir, &notify, (to, orders)));
    // What did not end is not waited for any longer.
    runtime.shutdown_timeout(Duration::from_millis(500));
    left
}

/// How the main loop is given orders.
type Orders = (mpsc::UnboundedSender<Order>, mpsc::UnboundedReceiver<Order>);

async fn serve(
    host: Arc<dyn Host>,
    config: Config,
    dir: &Path,
    notify: &Arc<Notify>,
    (to, mut orders): Orders,
) -> Result<Left, DaemonError> {
    let socket = config.socket.clone();
    let Some((current, again)) = open(&host, config, notify, &mut orders).await? else { return Ok(Vec::new()) };
    if again {
        // It is told to this loop itself, which is there.
        let _told = to.send(Order::Reload(None));
    }
    let shared = Arc::new(Shared::open(host, Arc::new(SystemClock), current, dir)?);
    let listening = |source| DaemonError::Process { doing: "listen at the control socket", source };
    let listener = tokio::net::UnixListener::from_std(listen(&socket)?).map_err(listening)?;
    tokio::spawn(control::serve(listener, shared.clone(), to));
    tokio::spawn(watchdog::run(shared.clone(), notify.clone()));
    let left = Supervisor::new(shared, notify.clone()).run(orders).await;
    remove(&socket);
    left
}

/// Opens the repository. An index that has much to catch up with takes its time: whoever started the service is told to wait, and
/// who ends it need not. None where it was ended; and whether new settings were asked for meanwhile.
async fn open(
    host: &Arc<dyn Host>,
    config: Config,
    notify: &Notify,
    orders: &mut mpsc::UnboundedReceiver<Order>,
) -> Result<Option<(Current, bool)>, DaemonError> {
    let mut again = false;
    let host = host.clone();
    let mut opening = tokio::task::spawn_blocking(move || reload::first(&*host, config));
    loop {
        notify.send(&["STATUS=opening the repository", "EXTEND_TIMEOUT_USEC=60000000"]);
        tokio::select! {
            opened = &mut opening => {
                let opened = opened.unwrap_or_else(|e| Err(format!("opening the repository ended unexpectedly: {e}")));
                return opened.map(|current| Some((current, again))).map_err(DaemonError::Refused);
            }
            order = orders.recv() => match order {
                Some(Order::Reload(_)) => again = true,
                Some(Order::Stop) | None => return Ok(None),
            },
            () = tokio::time::sleep(Duration::from_secs(20)) => {}
        }
    }
}

/// Takes hold of the state directory: its part for the service, and the lock.
fn take(state: &Path) -> Result<(PathBuf, LockGuard), DaemonError> {
    let dir = state.join("daemon");
    durable::create_dirs(&dir, 0o700)?;
    let path = dir.join("lock");
    let lock = durable::lock_file(&path)?.ok_or_else(|| {
        let holder = durable::lock_holder(&path).ok().flatten();
        let pid = holder.filter(|pid| *pid != 0).map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
        DaemonError::Another { state: state.to_owned(), pid }
    })?;
    Ok((dir, lock))
}

fn listen(path: &Path) -> Result<std::os::unix::net::UnixListener, DaemonError> {
    let failed = |source| DaemonError::Socket { path: path.to_owned(), source };
    if let Some(dir) = path.parent() {
        let made = !dir.exists();
        durable::create_dirs(dir, 0o755).map_err(|e| failed(e.into()))?;
        if made {
            // Whatever the umask is: others are to reach the socket.
            std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
        }
    }
    let listener = local::listen(path).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

fn remove(socket: &Path) {
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("cannot remove the socket {}: {e}", socket.display());
        }
        _ => {}
    }
}
