//! Who we are at the broker: client id, user and password.

use kstar_common::key::KeyError;
use rumqttc::Connect;

use crate::reason::Failure;
use crate::settings::Settings;

/// What a connection begins with.
pub(crate) struct Identity {
    id: String,
    credentials: Option<(String, String)>,
}

impl Identity {
    /// The client of this id. The password is fetched anew each time: anyone who fixes its file need not restart the
    /// program.
    pub(crate) async fn fetch(settings: &Settings, id: String) -> Result<Self, Failure> {
        let Some(user) = settings.username.clone() else {
            return Ok(Self {
                id,
                credentials: None,
            });
        };
        let password = match settings.password.clone() {
            None => String::new(),
            Some(secret) => tokio::task::spawn_blocking(move || secret.reveal())
                .await
                .map_err(|_| Failure::soon("cannot read the password".to_owned()))?
                .map_err(Failure::slow)?,
        };
        Ok(Self {
            id,
            credentials: Some((user, password)),
        })
    }

    /// The request to be let in.
    pub(crate) fn login(&self) -> Connect {
        let mut connect = Connect::new(&self.id);
        if let Some((user, password)) = &self.credentials {
            connect.set_login(user, password);
        }
        connect
    }

    /// The id of this client.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// User and password.
    pub(crate) fn credentials(&self) -> Option<(&str, &str)> {
        let (user, password) = self.credentials.as_ref()?;
        Some((user, password))
    }
}

/// The id becomes part of a topic, and brokers must only take letters and digits; most take these as well.
pub(crate) fn check_client_id(id: &str) -> Result<(), KeyError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if id.is_empty() || id.len() > 64 || !id.chars().all(fits) {
        let message =
            format!("`client_id = {id:?}` must be 1 to 64 of the characters A-Z a-z 0-9 - _ . :");
        return Err(KeyError::new("client_id", message));
    }
    Ok(())
}

/// After the machine, so that two collectors at one broker do not throw each other out.
pub(crate) fn default_client_id(host: &str) -> String {
    let host: String = host
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(58)
        .collect();
    match host.trim_matches('-') {
        "" => "kstar".to_owned(),
        host => format!("kstar-{host}"),
    }
}
