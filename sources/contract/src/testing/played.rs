//! An inverter on a loopback port that behaves as it is told to, and notes what it was sent.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};

use super::{Link, SHORT, Wire};

/// How the played inverter treats a request, of which the suite knows the right reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    Answers,
    Twice,
    /// In pieces with pauses between them; only a stream puts those together.
    InPieces,
    /// What is no reply to us comes before it.
    StrangersFirst,
    /// It has none of the blocks that are not needed.
    Lacking,
    Silent,
    /// Half of each reply.
    Torn,
    /// The requests themselves.
    Echo,
    /// The right reply, from another port.
    FromElsewhere,
    /// The right reply, after the time for it is over.
    Late,
    /// What is no reply to us, and nothing else.
    Strangers,
    /// It closes the connection without a word.
    Closes,
    /// Bytes of all kinds, some of them nearly a reply.
    Noise,
}

pub(super) struct Played {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// The right answers.
type Answer = Box<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync>;

struct Shared {
    behaviour: Mutex<Behaviour>,
    /// What it was asked, without the framing.
    received: Mutex<BTreeSet<Vec<u8>>>,
    wire: Mutex<Box<dyn Wire>>,
    answer: Answer,
    needed: BTreeSet<Vec<u8>>,
    random: Mutex<u32>,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl Drop for Played {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked<T: ?Sized>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Played {
    /// Answers requests without their framing by these answers; it lacks what is not needed when it is told to.
    pub(super) async fn start(
        link: Link,
        wire: Box<dyn Wire>,
        needed: BTreeSet<Vec<u8>>,
        answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(Behaviour::Answers),
            received: Mutex::default(),
            wire: Mutex::new(wire),
            answer: Box::new(answer),
            needed,
            random: Mutex::new(1),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
        });
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (address, task) = match link {
            Link::Datagrams => {
                let socket = UdpSocket::bind(any).await.expect("a port");
                let elsewhere = UdpSocket::bind(any).await.expect("a port");
                let address = socket.local_addr().expect("an address");
                (
                    address,
                    tokio::spawn(datagrams(shared.clone(), socket, elsewhere)),
                )
            }
            Link::Stream => {
                let listener = TcpListener::bind(any).await.expect("a port");
                let address = listener.local_addr().expect("an address");
                (address, tokio::spawn(connections(shared.clone(), listener)))
            }
        };
        Self {
            address,
            shared,
            task,
        }
    }

    pub(super) fn behave(&self, behaviour: Behaviour) {
        *locked(&self.shared.behaviour) = behaviour;
    }

    /// What it was asked, each once.
    pub(super) fn received(&self) -> BTreeSet<Vec<u8>> {
        locked(&self.shared.received).clone()
    }

    /// Forgets what it was asked.
    pub(super) fn forget(&self) {
        locked(&self.shared.received).clear();
    }

    /// How many connections were open at once at the most.
    pub(super) fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::Relaxed)
    }
}

/// What is sent for one request.
#[derive(Default)]
struct Sent {
    /// Each with the pause before it.
    pieces: Vec<(Duration, Vec<u8>)>,
    from_elsewhere: bool,
    then_closes: bool,
}

impl Shared {
    /// Notes the requests that bytes hold, and says what is sent for them.
    fn take(&self, received: &mut Vec<u8>) -> Option<Sent> {
        let mut wire = locked(&self.wire);
        let asked = wire.take(received)?;
        locked(&self.received).insert(asked.request.clone());
        let how = *locked(&self.behaviour);
        if how == Behaviour::Lacking
            && !self.needed.contains(&asked.request)
            && let Some(lacking) = wire.lacking(&asked)
        {
            return Some(Sent::now(vec![wire.reply(&asked, &lacking)]));
        }
        let Some(answer) = (self.answer)(&asked.request) else {
            return Some(Sent::default());
        };
        let right = wire.reply(&asked, &answer);
        let half = right.len() / 2;
        let first = right.get(..half).unwrap_or_default().to_vec();
        let second = right.get(half..).unwrap_or_default().to_vec();
        let strangers = wire.strangers(&asked, &answer);
        Some(match how {
            Behaviour::Answers | Behaviour::Lacking => Sent::now(vec![right]),
            Behaviour::Twice => Sent::now(vec![right.clone(), right]),
            Behaviour::InPieces => Sent {
                pieces: vec![(Duration::ZERO, first), (SHORT / 10, second)],
                ..Sent::default()
            },
            Behaviour::StrangersFirst => Sent::now(strangers.into_iter().chain([right]).collect()),
            Behaviour::Silent => Sent::default(),
            Behaviour::Torn => Sent::now(vec![first]),
            Behaviour::Echo => Sent::now(vec![asked.whole]),
            Behaviour::FromElsewhere => Sent {
                from_elsewhere: true,
                ..Sent::now(vec![right])
            },
            Behaviour::Late => Sent {
                pieces: vec![(SHORT * 3, right)],
                ..Sent::default()
            },
            Behaviour::Strangers => Sent::now(strangers),
            Behaviour::Closes => Sent {
                then_closes: true,
                ..Sent::default()
            },
            Behaviour::Noise => Sent::now(noise(&right, &mut locked(&self.random))),
        })
    }
}

impl Sent {
    fn now(pieces: Vec<Vec<u8>>) -> Self {
        let pieces = pieces.into_iter().map(|piece| (Duration::ZERO, piece));
        Self {
            pieces: pieces.collect(),
            ..Self::default()
        }
    }
}

async fn datagrams(shared: Arc<Shared>, socket: UdpSocket, elsewhere: UdpSocket) {
    let mut buffer = [0; 2048];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let mut received = buffer.get(..length).unwrap_or_default().to_vec();
        let Some(sent) = shared.take(&mut received) else {
            continue;
        };
        let sender = if sent.from_elsewhere {
            &elsewhere
        } else {
            &socket
        };
        for (pause, datagram) in sent.pieces {
            tokio::time::sleep(pause).await;
            // Who asked may be gone.
            let _ = sender.send_to(&datagram, from).await;
        }
    }
}

async fn connections(shared: Arc<Shared>, listener: TcpListener) {
    let mut open = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        // One that was closed before this was opened may not have been noticed yet.
        for _ in 0..100 {
            if shared.open.load(Ordering::Relaxed) == 0 {
                break;
            }
            tokio::time::sleep(SHORT / 10).await;
        }
        let now_open = shared.open.fetch_add(1, Ordering::Relaxed) + 1;
        shared.most_open.fetch_max(now_open, Ordering::Relaxed);
        open.spawn(connection(shared.clone(), socket));
    }
}

async fn connection(shared: Arc<Shared>, mut socket: TcpStream) {
    let mut received = Vec::new();
    'open: while let Ok(1..) = socket.read_buf(&mut received).await {
        while let Some(sent) = shared.take(&mut received) {
            for (pause, piece) in sent.pieces {
                tokio::time::sleep(pause).await;
                if socket.write_all(&piece).await.is_err() {
                    break 'open;
                }
            }
            if sent.then_closes {
                break 'open;
            }
        }
    }
    shared.open.fetch_sub(1, Ordering::Relaxed);
}

/// Nothing, one byte, the reply with each of some bits turned or bytes left out, and the reply with more behind it.
fn noise(right: &[u8], random: &mut u32) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new(), vec![0], vec![0xff; 1400]];
    for _ in 0..40 {
        *random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let at = *random as usize % right.len().max(1);
        let mut turned = right.to_vec();
        if let Some(byte) = turned.get_mut(at) {
            *byte ^= 1 << (*random >> 29);
        }
        all.push(turned);
        all.push(right.get(..at).unwrap_or_default().to_vec());
    }
    all
}
