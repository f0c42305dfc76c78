//! The terminal: taken, drawn on, asked for keys, and given back as it was, whatever happens.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use jiff::Zoned;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};
use tokio::sync::oneshot;

use super::draw::{Over, Scene, View, draw};
use super::log;
use super::look::Look;
use super::page::Page;

/// How often it is looked for keys and for something new to draw.
const LOOK: Duration = Duration::from_millis(50);

/// How long the terminal may take to be given back: one at the end of a dead line takes indefinitely.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a process may take to stop after it has been told to.
#[cfg(unix)]
const STOPPING: Duration = Duration::from_secs(1);

/// What the sources write and the screen draws.
#[derive(Debug, Default)]
pub struct Shared {
    page: Mutex<Page>,
    changed: AtomicBool,
    ending: AtomicBool,
    continued: AtomicBool,
}

impl Shared {
    /// A page of which only the origin is known.
    pub fn new(origin: String) -> Arc<Self> {
        let page = Page {
            origin,
            ..Page::default()
        };
        Arc::new(Self {
            page: Mutex::new(page),
            ..Self::default()
        })
    }

    /// Changes the page, which is drawn soon.
    pub fn change(&self, change: impl FnOnce(&mut Page)) {
        change(&mut self.page());
        self.changed.store(true, Ordering::Release);
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        // A page that was left half changed is drawn as it is.
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there can be no page on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoScreen {
    NoTerminal,
    /// It is one that can only print.
    OnlyPrints,
}

/// What the terminal on standard output can show, if it can show a page.
pub fn look() -> Result<Look, NoScreen> {
    if !io::stdout().is_terminal() {
        return Err(NoScreen::NoTerminal);
    }
    let variable = |name| std::env::var(name).unwrap_or_default();
    let terminal = variable("TERM");
    if cfg!(unix) && matches!(terminal.as_str(), "" | "dumb") {
        return Err(NoScreen::OnlyPrints);
    }
    // The first that is set counts, as for every program.
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .map(variable)
        .find(|value| !value.is_empty())
        .unwrap_or_default()
        .to_lowercase();
    let is_utf8 = locale.contains("utf-8") || locale.contains("utf8");
    Ok(Look {
        // The console of Linux has few characters, whatever the locale.
        unicode: cfg!(windows) || (is_utf8 && terminal != "linux"),
        colour: variable("NO_COLOR").is_empty() && !terminal.starts_with("vt"),
    })
}

/// Why a page is not shown any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Somebody has quit, or the page was closed.
    Quit,
    /// There is nobody at the other end of the terminal any more.
    TerminalGone,
}

/// A page that is up. Anyone who drops it gives the terminal back.
pub struct Screen {
    shared: Arc<Shared>,
    left: oneshot::Receiver<io::Result<Left>>,
    /// Disconnected when the terminal has been given back.
    given_back: std::sync::mpsc::Receiver<()>,
}

impl Screen {
    /// Takes the terminal and shows the page until somebody quits or this is closed.
    pub fn open(shared: Arc<Shared>, look: Look, zone: TimeZone) -> io::Result<Self> {
        log::keep(&zone);
        let (ended, left) = oneshot::channel();
        let (still_taken, given_back) = std::sync::mpsc::channel();
        let drawn = shared.clone();
        std::thread::Builder::new()
            .name("screen".to_owned())
            .spawn(move || {
                // Drawing fails in one way or another where the terminal has just gone.
                let outcome = match show(&drawn, look, &zone) {
                    Err(_) if !is_there() => Ok(Left::TerminalGone),
                    outcome => outcome,
                };
                drop::<std::sync::mpsc::Sender<()>>(still_taken);
                // Nobody waits any more if it was closed.
                let _ = ended.send(outcome);
            })?;
        #[cfg(unix)]
        tokio::spawn(notice_continuing(shared.clone()));
        Ok(Self {
            shared,
            left,
            given_back,
        })
    }

    /// Ready when the page is not shown any more. The terminal has been given back then.
    pub async fn left(&mut self) -> io::Result<Left> {
        match (&mut self.left).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::other(
                "drawing the page has failed; please report this",
            )),
        }
    }

    /// Gives the terminal back. Where that fails it is of no use to anybody any more.
    pub async fn close(&mut self) {
        self.shared.ending.store(true, Ordering::Release);
        let _ = tokio::time::timeout(PATIENCE, self.left()).await;
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if !self.shared.ending.swap(true, Ordering::AcqRel) {
            // Anyone who drops a page that is up is about to end the process, which must not be faster than this.
            let _ = self.given_back.recv_timeout(PATIENCE);
        }
    }
}

/// A terminal that is taken. Dropping it gives it back, also when drawing panics.
struct Taken {
    terminal: Terminal<CrosstermBackend<Out>>,
    given_back: Rc<Cell<bool>>,
}

/// Standard output until the terminal is given back; nothing is written after that. For when ratatui's terminal is dropped
/// it shows the cursor once more, and prints to standard error if it cannot, which panics where that is gone too.
struct Out {
    given_back: Rc<Cell<bool>>,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.given_back.get() {
            return Ok(bytes.len());
        }
        io::stdout().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.given_back.get() {
            return Ok(());
        }
        io::stdout().flush()
    }
}

impl Taken {
    fn take() -> io::Result<Self> {
        catch_panics();
        enable_raw_mode()?;
        log::begin();
        let given_back = Rc::default();
        let out = Out {
            given_back: Rc::clone(&given_back),
        };
        let taken = Self {
            terminal: Terminal::new(CrosstermBackend::new(out)).inspect_err(|_| {
                give_back();
            })?,
            given_back,
        };
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
        Ok(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
        self.given_back.set(true);
    }
}

/// Gives the terminal back as it was. What cannot be written to it any more does not matter any more.
fn give_back() {
    let mut out = io::stdout();
    let _ = queue!(out, LeaveAlternateScreen, cursor::Show);
    let _ = out.flush();
    let _ = disable_raw_mode();
    log::end();
}

/// A panic's message would be written across the page: it goes to the log on it. One that ends the page shows after it.
fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !log::panicked(&info.to_string()) {
                usual(info);
            }
        }));
    });
}

/// Shows the page until somebody quits, it is to end, or the terminal is gone.
fn show(shared: &Shared, look: Look, zone: &TimeZone) -> io::Result<Left> {
    let mut taken = Taken::take()?;
    let mut view = View::default();
    let mut drawn = Drawn::default();
    while !shared.ending.load(Ordering::Acquire) {
        if shared.continued.swap(false, Ordering::AcqRel) {
            // Anyone who had the terminal meanwhile may have left it in any state.
            drop(taken);
            taken = Taken::take()?;
            drawn = Drawn::default();
        }
        drawn.draw_if_new(&mut taken, shared, &view, look, zone)?;
        // Waiting is done here: while crossterm waits, a terminal that goes away would keep it reading indefinitely.
        if !is_there() {
            return Ok(Left::TerminalGone);
        }
        if !event::poll(Duration::ZERO)? {
            std::thread::sleep(LOOK);
            continue;
        }
        match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                match press(key, &mut view, &shared.page()) {
                    Wish::Quit => return Ok(Left::Quit),
                    Wish::Suspend => {
                        drop(taken);
                        suspend(shared);
                        taken = Taken::take()?;
                        drawn = Drawn::default();
                    }
                    Wish::Anew => {
                        taken.terminal.clear()?;
                        drawn = Drawn::default();
                    }
                    Wish::Draw => drawn = Drawn::default(),
                    Wish::Nothing => {}
                }
            }
            Event::Resize(..) => drawn = Drawn::default(),
            _ => {}
        }
    }
    Ok(Left::Quit)
}

/// Whether there is still somebody at the other end of the terminal.
#[cfg(unix)]
fn is_there() -> bool {
    rustix::termios::tcgetattr(io::stdout()).is_ok()
}

#[cfg(not(unix))]
fn is_there() -> bool {
    true
}

/// What the terminal shows already.
#[derive(Default)]
struct Drawn {
    second: Option<i64>,
    log: u64,
    lines: Vec<log::Line>,
}

impl Drawn {
    /// Draws if something has changed, or a second has passed: ages and the time go on.
    fn draw_if_new(
        &mut self,
        taken: &mut Taken,
        shared: &Shared,
        view: &View,
        look: Look,
        zone: &TimeZone,
    ) -> io::Result<()> {
        let time = Zoned::now().with_time_zone(zone.clone());
        let second = Some(time.timestamp().as_second());
        let said = log::news(self.log);
        let changed = shared.changed.swap(false, Ordering::AcqRel);
        if self.second == second && said.is_none() && !changed {
            return Ok(());
        }
        self.second = second;
        if let Some((version, lines)) = said {
            self.log = version;
            self.lines = lines;
        }
        let lines = &self.lines;
        taken.terminal.draw(|frame| {
            let scene = Scene {
                page: &shared.page(),
                view,
                log: lines,
                look,
                now: Instant::now(),
                time: &time,
            };
            draw(&scene, frame.buffer_mut());
        })?;
        Ok(())
    }
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Nothing,
    Draw,
    Anew,
    Suspend,
    Quit,
}

fn press(key: KeyEvent, view: &mut View, page: &Page) -> Wish {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let over = |view: &mut View, over| {
        view.over = if view.over == Some(over) {
            None
        } else {
            Some(over)
        };
        Wish::Draw
    };
    match key.code {
        KeyCode::Char('c') if control => Wish::Quit,
        KeyCode::Char('z') if control => Wish::Suspend,
        KeyCode::Char('l') if control => Wish::Anew,
        KeyCode::Char('q' | 'Q') => Wish::Quit,
        KeyCode::Esc if view.over.is_none() => Wish::Quit,
        KeyCode::Esc => {
            view.over = None;
            Wish::Draw
        }
        KeyCode::Char('?' | 'h') => over(view, Over::Help),
        KeyCode::Char('l') => over(view, Over::Log),
        KeyCode::Up | KeyCode::Char('k') => select(view, page, |index| index.checked_sub(1)),
        KeyCode::Down | KeyCode::Char('j' | '\t') | KeyCode::Tab => {
            select(view, page, |index| index.checked_add(1))
        }
        KeyCode::Char(digit @ '1'..='9') => {
            let index = digit
                .to_digit(10)
                .and_then(|digit| usize::try_from(digit).ok());
            select(view, page, |_| index?.checked_sub(1))
        }
        KeyCode::Char('+' | '=') => stretch(view, page, super::draw::Span::longer),
        KeyCode::Char('-') => stretch(view, page, super::draw::Span::shorter),
        _ => Wish::Nothing,
    }
}

fn select(view: &mut View, page: &Page, to: impl FnOnce(usize) -> Option<usize>) -> Wish {
    let chosen = to(view.index(page)).and_then(|index| page.inverters.get(index));
    match chosen {
        Some(watched) => {
            view.selected = Some(watched.overview.name.clone());
            Wish::Draw
        }
        None => Wish::Nothing,
    }
}

fn stretch(
    view: &mut View,
    page: &Page,
    change: fn(super::draw::Span) -> super::draw::Span,
) -> Wish {
    if let Some(watched) = page.inverters.get(view.index(page)) {
        view.span = Some(change(view.span(watched, &Zoned::now())));
    }
    Wish::Draw
}

/// Stops this process, and those that the shell started with it, until the shell lets them go on.
#[cfg(unix)]
fn suspend(shared: &Shared) {
    use rustix::process::{Signal, kill_current_process_group};
    let deadline = Instant::now() + STOPPING;
    if let Err(error) = kill_current_process_group(Signal::TSTP) {
        tracing::warn!(%error, "cannot stop for now");
        return;
    }
    // This thread may run on for a moment, and must not take the terminal again before it is stopped.
    while !shared.continued.swap(false, Ordering::AcqRel) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(not(unix))]
fn suspend(_shared: &Shared) {}

/// Notices that the process goes on after it was stopped, by another.
#[cfg(unix)]
async fn notice_continuing(shared: Arc<Shared>) {
    use tokio::signal::unix::{SignalKind, signal};
    let number = rustix::process::Signal::CONT.as_raw();
    let Ok(mut signals) = signal(SignalKind::from_raw(number)) else {
        return;
    };
    while signals.recv().await.is_some() {
        shared.continued.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Span;

    fn key(code: char, modifiers: KeyModifiers) -> KeyEvent {
        KeyEvent::new(KeyCode::Char(code), modifiers)
    }

    #[test]
    fn keys_quit_and_escape_first_closes_what_lies_over_the_page() {
        let (mut view, page) = (View::default(), Page::default());
        let escape = KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE);
        let mut pressed = |key| press(key, &mut view, &page);
        assert_eq!(pressed(key('q', KeyModifiers::NONE)), Wish::Quit);
        assert_eq!(pressed(key('c', KeyModifiers::CONTROL)), Wish::Quit);
        assert_eq!(pressed(key('z', KeyModifiers::CONTROL)), Wish::Suspend);
        assert_eq!(pressed(key('?', KeyModifiers::NONE)), Wish::Draw);
        assert_eq!(pressed(escape), Wish::Draw);
        assert_eq!(pressed(escape), Wish::Quit);
        assert_eq!(pressed(key('c', KeyModifiers::NONE)), Wish::Nothing);
    }

    #[test]
    fn the_past_is_stretched_between_a_quarter_of_an_hour_and_a_day() {
        let mut span = Span::Quarter;
        for longer in [Span::Hour, Span::SixHours, Span::Day, Span::Day] {
            span = span.longer();
            assert_eq!(span, longer);
        }
        for shorter in [Span::SixHours, Span::Hour, Span::Quarter, Span::Quarter] {
            span = span.shorter();
            assert_eq!(span, shorter);
        }
    }
}
