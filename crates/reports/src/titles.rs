//! What people call inverters. Their names stay what they are known by.

use std::collections::BTreeMap;

/// Titles by the names of their inverters; one without a title is called by its name.
#[derive(Clone, Debug, Default)]
pub struct Titles(BTreeMap<String, String>);

impl Titles {
    /// What an inverter is called.
    pub fn of<'a>(&'a self, name: &'a str) -> &'a str {
        self.0.get(name).map_or(name, String::as_str)
    }

    /// What these inverters are called, as one text.
    pub fn listed<Name: AsRef<str>>(&self, names: &[Name]) -> String {
        let titles: Vec<&str> = names.iter().map(|name| self.of(name.as_ref())).collect();
        titles.join(", ")
    }
}

impl FromIterator<(String, String)> for Titles {
    fn from_iter<All: IntoIterator<Item = (String, String)>>(all: All) -> Self {
        Self(all.into_iter().collect())
    }
}
