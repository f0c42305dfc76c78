//! Where files are when nobody says where.

use std::path::PathBuf;

/// `$STATE_DIRECTORY` as systemd sets it, else the user's own place for such files.
pub(super) fn default_state_dir() -> PathBuf {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let in_home = || Some(std::env::home_dir()?.join(".local/state"));
    if let Some(folder) = variable("STATE_DIRECTORY") {
        return folder;
    }
    let base = variable("XDG_STATE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(in_home);
    base.map_or_else(|| PathBuf::from("."), |base| base.join("kstar"))
}

/// The configuration of the service.
pub const SYSTEM_PLACE: &str = "/etc/kstar/config.toml";

/// Where a configuration is looked for when none is named, in this order.
pub fn usual_places() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("kstar.toml")];
    let home = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    places.extend(home.map(|home| home.join("kstar/config.toml")));
    places.push(PathBuf::from(SYSTEM_PLACE));
    places
}
