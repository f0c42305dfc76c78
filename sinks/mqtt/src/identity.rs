//! Who we are at the broker: client id, user and password.

use rumqttc::Connect;

use crate::reason::Failure;
use crate::settings::Settings;

/// What a connection begins with.
pub(crate) struct Identity {
    id: String,
    credentials: Option<(String, String)>,
}

impl Identity {
    /// The client of this id. The password is fetched anew each time: whoever fixes its file need not restart the
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
