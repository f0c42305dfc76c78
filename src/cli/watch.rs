//! `kstar watch`: a live page in the terminal. `kstar run` shows the same one where nobody wants lines instead.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;
use jiff::tz::TimeZone;
use kstar_client::Client;
#[cfg(feature = "http")]
use kstar_client::Url;
use kstar_engine::board::Board;
use kstar_engine::collector::Collector;
use kstar_engine::pipeline::ledger::keeper::{Closing, Keeper};
use kstar_engine::pipeline::stamp::WallClock;
use kstar_engine::pipeline::untold::Untold;
use kstar_engine::unit::{InverterPlan, Metering};
use kstar_model::time::UnixMillis;
use kstar_sink::event::Event;
use kstar_source::lock::{Held, InverterLock};
use kstar_watch::board;
use kstar_watch::log;
use kstar_watch::look::Look;
use kstar_watch::remote::{Remote, feed};
use kstar_watch::screen::{Left, NoScreen, Screen, Shared, look};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::shared::args::{ConfigArgs, PlaceArgs, choose, known};
use super::shared::failure::Failure;
#[cfg(feature = "http")]
use super::shared::remote;
use super::shared::remote::{RemoteArgs, failed};
use super::shared::signals::HangUp;
use crate::config::Config;
use crate::run::plans;

/// What `kstar watch` can be told.
#[derive(Args, Clone, Debug)]
pub struct WatchArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    place: PlaceArgs,
    /// Poll even though a running collector polls the inverter
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Shows the page until somebody quits or `shutdown` is ready.
pub async fn run(args: WatchArgs, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    let look = look().map_err(no_screen)?;
    match args.remote.client()? {
        // Times are those of whoever looks: the collector may be far away.
        Some(client) => {
            let zone = Config::default().zone();
            ask_and_show(client, look, zone, shutdown).await
        }
        None => poll_and_show(args, look, shutdown).await,
    }
}

/// Asks a running collector.
async fn ask_and_show(
    client: Client,
    look: Look,
    zone: TimeZone,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let mut shutdown = std::pin::pin!(shutdown);
    let shared = Shared::new(client.url().to_string());
    // What is wrong from the beginning is said at once, and not on a page that waits.
    let remote = tokio::select! {
        () = &mut shutdown => return Ok(()),
        remote = Remote::connect(&client, &shared) => remote.map_err(failed)?,
    };
    let mut feeds = JoinSet::new();
    feeds.spawn(feed(shared.clone(), remote));
    let page = Shown {
        screen: Screen::open(shared, look, zone).map_err(broken)?,
        _feeds: feeds,
    };
    page.until(shutdown).await.map(|_| ()).map_err(broken)
}

/// Polls by itself, without any sink.
async fn poll_and_show(
    args: WatchArgs,
    look: Look,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut config = args.config.config()?;
    let place = args.place.or_environment()?;
    if !place.is_empty() {
        let mut inverter = if place.host.is_some() {
            known(&config.inverters())
        } else {
            choose(&config.inverters(), None, "name one with --host")?.clone()
        };
        place.put_on(&mut inverter)?;
        config.inverters = vec![inverter];
    }
    let plans = plans::inverter_plans(&config);
    if !args.force {
        let known = tokio::select! {
            () = &mut shutdown => return Ok(()),
            known = who_polls(&plans, &config) => known?,
        };
        if let Some(client) = known {
            return ask_and_show(client, look, config.zone(), shutdown).await;
        }
    }
    let (zone, history) = (config.zone(), history_file(&config));
    let metering = Metering {
        settings: config.metering(),
        keeper: Keeper::default(),
        closing: Closing::default(),
        untold: Untold::default(),
    };
    let mut collector = Collector::new(WallClock::default(), metering);
    let plan = Plan {
        origin: "polling by itself".to_owned(),
        look,
        zone,
        ends_with_terminal: true,
        history,
    };
    let shared = Shared::new(plan.origin.clone());
    shared.change(|page| page.counted_since = Some(now()));
    let page = plan.show(shared, &collector)?;
    for plan in plans {
        collector.start_inverter(plan).await;
    }
    let outcome = page.until(shutdown).await;
    collector.stop(config.collector.grace).await;
    outcome.map(|_| ()).map_err(broken)
}

/// The collector that polls one of these inverters, if one does; an error where it cannot be asked for what it has. An
/// inverter that cannot be found now is asked for later.
async fn who_polls(plans: &[InverterPlan], config: &Config) -> Result<Option<Client>, Failure> {
    for plan in plans {
        let mut source = plan.source.open(&plan.context, Arc::default());
        let Ok(line) = source.locate().await else {
            continue;
        };
        // Given back at once: whoever polls takes it.
        if let Err(held) = InverterLock::take(line.address).await {
            return known_by(&held, plan, config).await.map(Some);
        }
    }
    Ok(None)
}

/// What asks the collector that polls this inverter, where the configuration leads to it.
#[cfg(feature = "http")]
async fn known_by(held: &Held, plan: &InverterPlan, config: &Config) -> Result<Client, Failure> {
    let host = plan.context.target.text(plan.source.port());
    match remote::polling(config, &host, &plan.name).await {
        Ok(Some((client, _))) => Ok(client),
        Ok(None) => Err(Failure::Runtime(format!("{held}; {NO_HTTP}"))),
        Err(failure) => Err(Failure::Runtime(format!(
            "{held}, and it cannot be asked over HTTP: {failure}; use --force to poll all the same"
        ))),
    }
}

#[cfg(not(feature = "http"))]
#[expect(clippy::unused_async, reason = "the same form as where it is built")]
async fn known_by(held: &Held, _: &InverterPlan, _: &Config) -> Result<Client, Failure> {
    Err(Failure::Runtime(format!("{held}; {NO_HTTP}")))
}

/// Where this configuration serves no HTTP; that of the other one may.
const NO_HTTP: &str = "use --force to poll all the same, or see what that one has with \
    `kstar watch --url http://127.0.0.1:8099`; if its configuration has no section [http], add these two lines and \
    restart it:\n\n    [http]\n    listen = \"127.0.0.1:8099\"";

fn no_screen(why: NoScreen) -> Failure {
    let why = match why {
        NoScreen::NoTerminal => "standard output is no terminal",
        NoScreen::OnlyPrints => {
            "this terminal can only print (TERM is `dumb` or not set), and a page needs one that can draw"
        }
    };
    let instead = "use `kstar read` for one reading, or `kstar run` with a section [sinks.stdout] for JSON lines";
    Failure::Usage(format!("{why}; {instead}"))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what errors are mapped with"
)]
fn broken(error: io::Error) -> Failure {
    Failure::Runtime(format!("cannot show the page: {error}"))
}

fn now() -> UnixMillis {
    SystemTime::now().into()
}

#[cfg(feature = "history")]
fn history_file(config: &Config) -> Option<PathBuf> {
    config.sinks.history_file(&plans::context(config))
}

#[cfg(not(feature = "history"))]
fn history_file(_config: &Config) -> Option<PathBuf> {
    None
}

/// What a page of a collector in this process needs to know.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Where it comes from, for the page's head.
    origin: String,
    look: Look,
    zone: TimeZone,
    /// Whether the program ends when the terminal is gone, as it does with SIGHUP from one.
    ends_with_terminal: bool,
    #[cfg_attr(
        not(feature = "history"),
        expect(dead_code, reason = "a build that asks no history")
    )]
    history: Option<PathBuf>,
}

impl Plan {
    /// The page of `kstar run`, if its output is a terminal that can show one and no sink writes there.
    pub(super) fn of_run(config: &Config) -> Option<Self> {
        if config.sinks.writes_lines() {
            return None;
        }
        let (look, zone) = (look().ok()?, config.zone());
        log::keep(&zone);
        Some(Self {
            origin: origin(config),
            look,
            zone,
            // Not later: of a terminal that is gone nobody can tell whether it was ours.
            ends_with_terminal: HangUp::of_this_process() == HangUp::Stops,
            history: history_file(config),
        })
    }

    /// Shows it.
    fn show(self, shared: Arc<Shared>, collector: &Collector) -> Result<Shown, Failure> {
        let (board, events) = (collector.board().clone(), collector.subscribe());
        self.show_board(shared, board, events).map_err(broken)
    }

    fn show_board(
        self,
        shared: Arc<Shared>,
        board: Arc<Board>,
        events: broadcast::Receiver<Event>,
    ) -> io::Result<Shown> {
        let mut feeds = JoinSet::new();
        feeds.spawn(board::feed(shared.clone(), board, events));
        #[cfg(feature = "history")]
        if let Some(file) = self.history {
            feeds.spawn(fill(shared.clone(), file));
        }
        Ok(Shown {
            screen: Screen::open(shared, self.look, self.zone)?,
            _feeds: feeds,
        })
    }
}

/// Where the page of `kstar run` comes from: where the same is to be seen in a browser, if that is served.
#[cfg(feature = "http")]
fn origin(config: &Config) -> String {
    let served = config.http.as_ref().filter(|http| http.dashboard);
    match served {
        Some(http) if http.listen.0.port() != 0 => Url::of_listener(http.listen.0).to_string(),
        _ => COLLECTING.to_owned(),
    }
}

#[cfg(not(feature = "http"))]
fn origin(_config: &Config) -> String {
    COLLECTING.to_owned()
}

const COLLECTING: &str = "collecting";

/// Whether `kstar run` may show a page at all.
pub(super) fn is_possible() -> bool {
    look().is_ok()
}

/// What to wait for while `kstar run` collects: the order to stop, from anyone who looks at its page as well.
pub(super) async fn beside(
    plan: Option<Plan>,
    board: Arc<Board>,
    events: broadcast::Receiver<Event>,
    shutdown: impl Future<Output = ()>,
) {
    let Some(plan) = plan else {
        // Whatever nobody reads would be kept for this receiver.
        drop(events);
        return shutdown.await;
    };
    let ends_with_terminal = plan.ends_with_terminal;
    let shared = Shared::new(plan.origin.clone());
    let mut shutdown = std::pin::pin!(shutdown);
    let outcome = match plan.show_board(shared, board, events) {
        Ok(page) => page.until(&mut shutdown).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(Ended::Shutdown) => {}
        Ok(Ended::Left(Left::TerminalGone)) if !ends_with_terminal => {
            tracing::warn!("the terminal is gone; collecting goes on without the page");
            shutdown.await;
        }
        Ok(Ended::Left(_)) => {
            if interrupt_ourselves() {
                shutdown.await;
            }
        }
        Err(error) => {
            tracing::error!(%error, "cannot show the page; collecting goes on without it");
            shutdown.await;
        }
    }
}

/// Asks this process to stop as a signal does, so that a second one stops it at once; says whether that could be done.
#[cfg(unix)]
fn interrupt_ourselves() -> bool {
    use rustix::process::{Signal, getpid, kill_process};
    kill_process(getpid(), Signal::INT).is_ok()
}

#[cfg(not(unix))]
fn interrupt_ourselves() -> bool {
    false
}

/// A page that is up.
struct Shown {
    screen: Screen,
    /// They end with the page.
    _feeds: JoinSet<()>,
}

/// Why the page is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Nobody looks at it any more.
    Left(Left),
    /// The program is to end.
    Shutdown,
}

impl Shown {
    /// Shows it until nobody looks at it any more or `shutdown` is ready.
    async fn until(mut self, shutdown: impl Future<Output = ()>) -> io::Result<Ended> {
        tokio::select! {
            // Where the terminal goes away both may be ready, and what is ready must be waited for only once.
            biased;
            () = shutdown => {
                self.screen.close().await;
                Ok(Ended::Shutdown)
            }
            left = self.screen.left() => left.map(Ended::Left),
        }
    }
}

/// Puts the last hours of a history on the page.
#[cfg(feature = "history")]
async fn fill(shared: Arc<Shared>, file: PathBuf) {
    let loaded = tokio::task::spawn_blocking(move || kstar_watch::past::load(&file, now())).await;
    match loaded {
        Ok(Ok(inverters)) => shared.change(|page| {
            for (name, pieces) in inverters {
                if let Some(watched) = page.inverter(&name) {
                    watched.curve.fill(pieces);
                }
            }
        }),
        // A history that begins today.
        Ok(Err(error)) => tracing::debug!(%error, "no history to show"),
        Err(error) => tracing::debug!(%error, "reading the history has failed"),
    }
}
