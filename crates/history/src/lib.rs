pub use kstar_sink_sqlite::history::*;
