//! The ledger in use: whoever has something to remember hands it over and is told whether it is written.
//!
//! A thread of its own writes, so that no inverter's polling is blocked; what several inverters hand over meanwhile is
//! written together. A disk that hangs keeps that thread for good, so nobody waits for it longer than `PATIENCE`, and
//! nobody at all once it is known to hang. The newest account of each inverter is kept until it can be written.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kstar_common::worker::{Upkeep, Worker};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::file::LedgerFile;
use super::quarantine::{self, Refused};
use super::{Account, Accounts};

/// What a power cut may cost at most.
const SYNC_EVERY: Duration = Duration::from_secs(60);

/// How long a reading waits until its energies are written. Shorter than the two seconds that polling may take to stop,
/// so that a reading which waits then is still told.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How many hand-overs may be on their way; they are taken at once.
const MOST_WAITING: usize = 64;

/// What became of an account that was to be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "energies that are not remembered must not be published"]
pub enum Remembered {
    /// It is written; or nothing is kept at all, so that nobody expects to find it again.
    Yes,
    /// The disk hangs or fails. It is written once it can be, unless a newer one is.
    NotYet,
}

/// What is asked of the ledger.
enum Entry {
    /// To remember something.
    Remember {
        inverter: Arc<str>,
        account: Box<Account>,
        refused: Option<Refused>,
        answer: oneshot::Sender<Remembered>,
    },
    /// To tell what is remembered.
    Recall {
        inverter: Arc<str>,
        answer: oneshot::Sender<Account>,
    },
}

/// Since when energies cannot be remembered, for whoever watches the collector run.
#[derive(Clone, Debug, Default)]
pub struct Outage(Arc<Mutex<Option<Instant>>>);

impl Outage {
    /// Since when; nothing while they can be.
    pub fn since(&self) -> Option<Instant> {
        *self.lock()
    }

    fn note(&self, outcome: Remembered) {
        let mut since = self.lock();
        *since = match outcome {
            Remembered::Yes => None,
            Remembered::NotYet => Some(since.unwrap_or_else(Instant::now)),
        };
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle to the ledger. Without a file it remembers nothing, unless it was given accounts to begin with: those are
/// kept in memory.
#[derive(Clone, Debug, Default)]
pub struct Keeper {
    entries: Option<mpsc::Sender<Entry>>,
    memory: Option<Arc<Mutex<Accounts>>>,
    outage: Outage,
}

/// The end of the ledger's work.
#[derive(Debug, Default)]
pub struct Closing(Option<tokio::task::JoinHandle<()>>);

impl Keeper {
    /// Goes on from these accounts, without a file.
    pub fn in_memory(accounts: Accounts) -> Self {
        Self {
            memory: Some(Arc::new(Mutex::new(accounts))),
            ..Self::default()
        }
    }

    /// The accounts that are kept in memory, if any are.
    fn memory(&self) -> Option<MutexGuard<'_, Accounts>> {
        // Nothing panics while it holds the lock.
        let memory = self.memory.as_ref()?;
        Some(memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn start(ledger: LedgerFile) -> io::Result<(Self, Closing)> {
        let desk = Desk::new(&ledger);
        let upkeep = Upkeep {
            every: SYNC_EVERY,
            run: LedgerFile::sync,
        };
        let worker = Worker::start("ledger", ledger, Some(upkeep))?;
        Ok(Self::with(worker, desk))
    }

    fn with(worker: Worker<LedgerFile>, desk: Desk) -> (Self, Closing) {
        let (sender, entries) = mpsc::channel(MOST_WAITING);
        let outage = desk.outage.clone();
        let task = tokio::spawn(desk.keep(worker, entries));
        let keeper = Self {
            entries: Some(sender),
            memory: None,
            outage,
        };
        (keeper, Closing(Some(task)))
    }

    /// Since when what is handed over cannot be remembered, now and later.
    pub fn outage(&self) -> Outage {
        self.outage.clone()
    }

    /// What is remembered under a name; nothing, if there is nothing.
    pub async fn recall(&self, inverter: &Arc<str>) -> Account {
        let Some(sender) = &self.entries else {
            let known = self.memory().and_then(|all| all.get(&**inverter).cloned());
            return known.unwrap_or_default();
        };
        let (answer, told) = oneshot::channel();
        let entry = Entry::Recall {
            inverter: inverter.clone(),
            answer,
        };
        // Where nobody keeps any more, nothing is known; why has been said.
        let _ = sender.send(entry).await;
        told.await.unwrap_or_default()
    }

    /// Remembers an inverter's account, and with it a reading that was refused, if there is one. Returns when that is
    /// written, or cannot be for now.
    pub async fn remember(
        &self,
        inverter: &Arc<str>,
        account: &Account,
        refused: Option<Refused>,
    ) -> Remembered {
        let Some(sender) = &self.entries else {
            if let Some(mut all) = self.memory() {
                all.insert(inverter.to_string(), account.clone());
            }
            return Remembered::Yes;
        };
        let (answer, answered) = oneshot::channel();
        let entry = Entry::Remember {
            inverter: inverter.clone(),
            account: Box::new(account.clone()),
            refused,
            answer,
        };
        let handed_over = async {
            // Where nobody keeps any more there is nothing to wait for; why has been said.
            sender.send(entry).await.ok()?;
            answered.await.ok()
        };
        let outcome = timeout(PATIENCE, handed_over).await;
        outcome.ok().flatten().unwrap_or(Remembered::NotYet)
    }
}

impl Closing {
    /// Waits until everything is on the disk, which takes for ever where that hangs. Every [`Keeper`] must be gone.
    pub async fn closed(self) {
        if let Some(task) = self.0
            && task.await.is_err()
        {
            tracing::error!("keeping the energy counters has panicked; please report this");
        }
    }
}

/// What stands between those who hand over and the thread that writes. It never waits for the disk alone.
struct Desk {
    folder: PathBuf,
    /// The newest of every inverter, written or not.
    accounts: Accounts,
    next: Batch,
    /// The disk is known to hang, or its thread is gone.
    hangs: bool,
    outage: Outage,
}

/// What is written together: at most one account and one who waits for each inverter.
#[derive(Default)]
struct Batch {
    accounts: BTreeMap<Arc<str>, Account>,
    refused: Vec<Refused>,
    /// Those who wait. One that is dropped unanswered hears that it is not written yet.
    waiting: BTreeMap<Arc<str>, oneshot::Sender<Remembered>>,
}

impl Desk {
    fn new(ledger: &LedgerFile) -> Self {
        Self {
            folder: ledger.folder().to_owned(),
            accounts: ledger.accounts().clone(),
            next: Batch::default(),
            hangs: false,
            outage: Outage::default(),
        }
    }

    /// Takes what is handed over, and writes it, until nobody hands over any more and all is written.
    async fn keep(mut self, worker: Worker<LedgerFile>, mut entries: mpsc::Receiver<Entry>) {
        while let Some(entry) = entries.recv().await {
            self.take(entry);
            while !self.next.accounts.is_empty() {
                // What came together is written together.
                while let Ok(entry) = entries.try_recv() {
                    self.take(entry);
                }
                self.write(&worker, &mut entries).await;
            }
        }
        // Only a thread that has panicked, which was said, does not sync.
        let _ = worker.call(LedgerFile::sync).await;
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Remember {
                inverter,
                account,
                refused,
                answer,
            } => {
                self.accounts
                    .insert(inverter.to_string(), (*account).clone());
                self.next.refused.extend(refused);
                let excess = self.next.refused.len().saturating_sub(quarantine::MOST);
                self.next.refused.drain(..excess);
                self.next.accounts.insert(inverter.clone(), *account);
                if !self.hangs {
                    self.next.waiting.insert(inverter, answer);
                }
            }
            Entry::Recall { inverter, answer } => {
                let known = self.accounts.get(&*inverter).cloned();
                // Whoever asked may have been stopped.
                let _ = answer.send(known.unwrap_or_default());
            }
        }
    }

    /// Has the next batch written, and takes meanwhile what is for the one after it.
    async fn write(&mut self, worker: &Worker<LedgerFile>, entries: &mut mpsc::Receiver<Entry>) {
        let Batch {
            accounts,
            refused,
            mut waiting,
        } = std::mem::take(&mut self.next);
        let mut writing = pin!(worker.call(move |ledger| settle(ledger, accounts, &refused)));
        let mut patience = pin!(sleep(PATIENCE));
        let mut open = true;
        let written = loop {
            tokio::select! {
                biased;
                written = &mut writing => break written,
                entry = entries.recv(), if open => match entry {
                    Some(entry) => self.take(entry),
                    None => open = false,
                },
                () = &mut patience, if !self.hangs => {
                    self.hangs = true;
                    self.outage.note(Remembered::NotYet);
                    waiting.clear();
                    self.next.waiting.clear();
                    tracing::error!(
                        folder = %self.folder.display(),
                        "the state folder does not answer; readings go on without the meter's energies, which are counted on \
                         and come back when it does. Check the disk or the network drive that it is on"
                    );
                }
            }
        };
        self.outage.note(written.unwrap_or(Remembered::NotYet));
        match written {
            Ok(remembered) => {
                if std::mem::take(&mut self.hangs) && remembered == Remembered::Yes {
                    tracing::info!(folder = %self.folder.display(), "the state folder answers again");
                }
                for answer in waiting.into_values() {
                    // An inverter that was stopped meanwhile does not wait any more.
                    let _ = answer.send(remembered);
                }
            }
            // Whoever waits hears it by the end of its channel.
            Err(error) if !self.hangs => {
                self.hangs = true;
                tracing::error!(%error, "the energy counters cannot be kept, and readings go on without them; please report this");
            }
            Err(_) => {}
        }
    }
}

/// Writes accounts, all at once, and the readings that were refused.
fn settle(
    ledger: &mut LedgerFile,
    accounts: BTreeMap<Arc<str>, Account>,
    refused: &[Refused],
) -> Remembered {
    for (inverter, account) in accounts {
        *ledger.account_mut(&inverter) = account;
    }
    let written = ledger.write();
    if !refused.is_empty() {
        ledger.quarantine(refused);
    }
    if written {
        Remembered::Yes
    } else {
        Remembered::NotYet
    }
}

#[cfg(test)]
mod tests;
