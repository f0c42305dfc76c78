//! The lock of an inverter: only one process may poll it at a time, since two that ask the same one disturb each other
//! (PROTOCOL 1.5).
//!
//! A service and a person at a terminal have to meet, and neither may write everywhere. `/run/kstar` is the service's own
//! (`RuntimeDirectory=` of its unit), where everybody may look; `/run/lock` is for everybody on Debian, and for root
//! alone elsewhere. So a lock is one in each folder where it can be had.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use kstar_common::due::at;
use kstar_common::lock_file::{Holder, LockFile};
use tokio::sync::watch;
use tokio::time::Instant;

/// How often a lock is tried that another process has.
const RETRY: Duration = Duration::from_secs(60);

/// The lock of an inverter; dropping it gives it back.
#[derive(Debug)]
pub struct InverterLock {
    _files: Vec<LockFile>,
}

/// Another process polls the inverter.
#[derive(Debug, thiserror::Error)]
#[error("process {} polls {address} already; two pollers disturb each other", pid.as_deref().unwrap_or("(unknown)"))]
pub struct Held {
    /// The inverter.
    pub address: SocketAddr,
    /// The other process.
    pub pid: Option<String>,
}

impl InverterLock {
    /// Takes the lock of the inverter at this address, on a thread that may block. Where locks are not to be had at all
    /// (a read-only system), there is none to respect: that is logged, and `None`.
    pub async fn take(address: SocketAddr) -> Result<Option<Self>, Held> {
        off_the_runtime(address, move || Self::take_in(&shared_folders(), address)).await
    }

    /// In each of the folders in this order, so that of two who try at a time one gets it.
    fn take_in(folders: &[PathBuf], address: SocketAddr) -> Result<Option<Self>, Held> {
        let name = format!(
            "kstar-{}.lock",
            address.to_string().replace([':', '[', ']', '%'], "-")
        );
        let mut files = Vec::new();
        for folder in folders {
            match LockFile::take(folder.join(&name)) {
                Ok(file) => files.extend(file),
                Err(Holder { pid }) => return Err(Held { address, pid }),
            }
        }
        Ok((!files.is_empty()).then_some(Self { _files: files }))
    }

    /// The same for all who poll an address in this process: several inverters may be behind it.
    fn share_in(folders: &[PathBuf], address: SocketAddr) -> Result<Option<Arc<Self>>, Held> {
        type Shared = BTreeMap<(Vec<PathBuf>, SocketAddr), Weak<InverterLock>>;
        static SHARED: Mutex<Shared> = Mutex::new(BTreeMap::new());
        // Nothing panics while it holds this.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|_, lock| lock.strong_count() > 0);
        let key = (folders.to_vec(), address);
        if let Some(lock) = shared.get(&key).and_then(Weak::upgrade) {
            return Ok(Some(lock));
        }
        let lock = Self::take_in(folders, address)?.map(Arc::new);
        if let Some(lock) = &lock {
            shared.insert(key, Arc::downgrade(lock));
        }
        Ok(lock)
    }
}

/// Takes a lock on a thread that may block.
async fn off_the_runtime<T: Send + 'static>(
    address: SocketAddr,
    take: impl FnOnce() -> Result<Option<T>, Held> + Send + 'static,
) -> Result<Option<T>, Held> {
    let taken = tokio::task::spawn_blocking(take);
    taken.await.unwrap_or_else(|error| {
        tracing::error!(%address, %error, "taking a lock has failed; please report this");
        Ok(None)
    })
}

/// Keeps the lock of an inverter for its polling, wherever that has found it, until nobody can name another address; then
/// gives it back. Where another process has it, that is logged once, and it is tried again each minute.
pub async fn keep(inverter: Arc<str>, addresses: watch::Receiver<Option<SocketAddr>>) {
    keep_in(inverter, addresses, shared_folders).await;
}

async fn keep_in(
    inverter: Arc<str>,
    mut addresses: watch::Receiver<Option<SocketAddr>>,
    folders: impl Fn() -> Vec<PathBuf> + Clone + Send + 'static,
) {
    let (mut lock, mut retry, mut logged): (Option<Arc<InverterLock>>, _, _) = (None, None, None);
    loop {
        tokio::select! {
            changed = addresses.changed() => if changed.is_err() {
                break;
            },
            () = at(retry) => {}
        }
        let Some(address) = *addresses.borrow_and_update() else {
            continue;
        };
        let (before, folders) = (lock, folders.clone());
        let take = move || {
            drop(before);
            InverterLock::share_in(&folders(), address)
        };
        (lock, retry) = match off_the_runtime(address, take).await {
            Ok(lock) => (lock, None),
            Err(held) => {
                if logged.replace(address) != Some(address) {
                    tracing::warn!(inverter = &*inverter, "{held}; stop one of them");
                }
                (None, Some(Instant::now() + RETRY))
            }
        };
    }
    // Where this panics, it was given back as well.
    let _ = tokio::task::spawn_blocking(move || drop(lock)).await;
}

/// The folders that a service and a person at a terminal share.
fn shared_folders() -> Vec<PathBuf> {
    let mut shared: Vec<_> = ["/run/kstar", "/run/lock"].map(PathBuf::from).into();
    shared.retain(|folder| folder.is_dir());
    if shared.is_empty() {
        shared.push(std::env::temp_dir());
    }
    shared
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_second_is_told_who_holds_the_lock_and_gets_it_afterwards() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = ([127, 0, 0, 1], 8899).into();
        let folders = [folder.path().to_owned()];
        let first = InverterLock::take_in(&folders, address)
            .expect("free")
            .expect("locks work here");
        let held = InverterLock::take_in(&folders, address).expect_err("held");
        assert_eq!(held.pid, Some(std::process::id().to_string()));
        assert!(InverterLock::take_in(&folders, ([127, 0, 0, 1], 8898).into()).is_ok());
        drop(first);
        assert!(InverterLock::take_in(&folders, address).is_ok());
        let left = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 0);
    }

    #[test]
    fn however_many_compete_only_one_has_the_lock() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let folder = tempfile::tempdir().expect("a folder");
        let folders = [folder.path().to_owned()];
        let address = ([127, 0, 0, 1], 8899).into();
        let (holders, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while taken.load(Ordering::SeqCst) < 1000 {
                        if let Ok(lock) = InverterLock::take_in(&folders, address) {
                            assert!(lock.is_some());
                            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                            holders.fetch_sub(1, Ordering::SeqCst);
                            taken.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn without_a_place_for_locks_there_is_none() {
        let lock =
            InverterLock::take_in(&["/no/such/folder".into()], ([127, 0, 0, 1], 8899).into());
        assert!(matches!(lock, Ok(None)));
    }

    #[test]
    fn one_folder_in_common_is_enough_to_meet() {
        let folder = tempfile::tempdir().expect("a folder");
        let [service, everybody] = ["kstar", "lock"].map(|name| folder.path().join(name));
        let address = ([127, 0, 0, 1], 8899).into();
        for there in [&service, &everybody] {
            std::fs::create_dir(there).expect("a folder");
            let both = [service.clone(), everybody.clone()];
            let lock = InverterLock::take_in(&both, address).expect("free");
            assert!(lock.is_some());
            let held = InverterLock::take_in(std::slice::from_ref(there), address);
            assert!(held.is_err(), "{}", there.display());
            drop(lock);
            let lock = InverterLock::take_in(std::slice::from_ref(there), address).expect("free");
            assert!(InverterLock::take_in(&both, address).is_err());
            drop(lock);
            let left = std::fs::read_dir(there).expect("a folder").count();
            assert_eq!(left, 0);
        }
    }

    #[test]
    #[cfg(unix)]
    fn everybody_may_see_the_lock_of_a_service_that_keeps_its_files_to_itself() {
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        let folder = tempfile::tempdir().expect("a folder");
        let address = ([127, 0, 0, 1], 8899).into();
        let place = folder.path().join("kstar-127.0.0.1-8899.lock");
        // As with a umask, which is the whole process's and not this test's to set.
        let mut private = OpenOptions::new();
        private.write(true).create_new(true).mode(0o600);
        drop(private.open(&place).expect("a file"));
        let lock = InverterLock::take_in(&[folder.path().to_owned()], address).expect("free");
        assert!(lock.is_some());
        let mode = std::fs::metadata(&place).expect("a file").permissions();
        assert_eq!(mode.mode() & 0o777, 0o644);
    }

    const OLD: ([u8; 4], u16) = ([127, 0, 0, 1], 8899);
    const NEW: ([u8; 4], u16) = ([127, 0, 0, 2], 8899);

    /// Whether somebody holds the lock of that address; one that is free is given back.
    fn is_held(folders: &[PathBuf], address: ([u8; 4], u16)) -> bool {
        InverterLock::take_in(folders, address.into()).is_err()
    }

    /// Waits while a thread makes the lock of that address.
    async fn until_made(folder: &Path, address: &str) {
        while !folder.join(format!("kstar-{address}.lock")).exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn the_lock_follows_the_inverter_to_its_new_address_and_goes_with_its_polling() {
        let folder = tempfile::tempdir().expect("a folder");
        let folders = vec![folder.path().to_owned()];
        let (found, addresses) = watch::channel(None);
        let there = folders.clone();
        let keeping = tokio::spawn(keep_in("roof".into(), addresses, move || there.clone()));
        found.send_replace(Some(OLD.into()));
        until_made(folder.path(), "127.0.0.1-8899").await;
        assert!(is_held(&folders, OLD));
        found.send_replace(Some(NEW.into()));
        until_made(folder.path(), "127.0.0.2-8899").await;
        assert!(is_held(&folders, NEW));
        assert!(!is_held(&folders, OLD));
        drop(found);
        keeping.await.expect("it ends");
        assert!(!is_held(&folders, NEW));
        let left = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_another_process_has_is_tried_each_minute_and_no_more_often() {
        let folder = tempfile::tempdir().expect("a folder");
        let folders = vec![folder.path().to_owned()];
        let other = InverterLock::take_in(&folders, OLD.into()).expect("free");
        let (found, addresses) = watch::channel(None);
        let tries = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (there, counted) = (folders.clone(), tries.clone());
        let keeping = tokio::spawn(keep_in("roof".into(), addresses, move || {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            there.clone()
        }));
        found.send_replace(Some(OLD.into()));
        tokio::time::sleep(Duration::from_secs(179)).await;
        assert_eq!(tries.load(std::sync::atomic::Ordering::SeqCst), 3);
        drop(other);
        assert!(!is_held(&folders, OLD));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(is_held(&folders, OLD));
        drop(found);
        keeping.await.expect("it ends");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_somebody_has_put_in_the_place_of_a_lock_is_neither_followed_nor_emptied_nor_waited_for()
    {
        let folder = tempfile::tempdir().expect("a folder");
        let folders = [folder.path().join("lock")];
        std::fs::create_dir(&folders[0]).expect("a folder");
        let place = folders[0].join("kstar-127.0.0.1-8899.lock");
        let letter = folder.path().join("letter");
        std::fs::write(&letter, "dear diary").expect("written");
        let missing = folder.path().join("missing");
        let plant: [&dyn Fn(); 4] = [
            &|| std::os::unix::fs::symlink(&letter, &place).expect("a link"),
            &|| std::os::unix::fs::symlink(&missing, &place).expect("a link"),
            &|| std::fs::hard_link(&letter, &place).expect("a link"),
            &|| {
                let mode = rustix::fs::Mode::from_raw_mode(0o444);
                rustix::fs::mkfifoat(rustix::fs::CWD, &place, mode).expect("a pipe");
            },
        ];
        for plant in plant {
            plant();
            let lock = InverterLock::take_in(&folders, OLD.into());
            assert!(matches!(lock, Ok(None)), "{lock:?}");
            assert!(place.symlink_metadata().is_ok(), "it stays there");
            std::fs::remove_file(&place).expect("removed");
        }
        assert_eq!(
            std::fs::read_to_string(&letter).expect("text"),
            "dear diary"
        );
        assert!(!missing.exists());
    }
}
