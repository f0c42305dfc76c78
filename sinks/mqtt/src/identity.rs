//! Who we are at the broker: client id, user and password.

use std::sync::Arc;

use rumqttc::{Connect, MqttOptions, TlsConfiguration, Transport, v5};

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

    pub(crate) fn options(&self, settings: &Settings) -> MqttOptions {
        let mut options = MqttOptions::new(&self.id, &settings.broker.host, settings.broker.port);
        if let Some((user, password)) = &self.credentials {
            options.set_credentials(user, password);
        }
        if let Some(transport) = transport(settings) {
            options.set_transport(transport);
        }
        options
    }

    /// The same for a connection of its own by MQTT 5, which tells what MQTT 3.1.1 has no word for.
    pub(crate) fn options_of_mqtt5(&self, settings: &Settings) -> v5::MqttOptions {
        // Another id: the broker may still be busy with the end of the connection before.
        let id = format!("{}-5", self.id);
        let mut options = v5::MqttOptions::new(id, &settings.broker.host, settings.broker.port);
        if let Some((user, password)) = &self.credentials {
            options.set_credentials(user, password);
        }
        if let Some(transport) = transport(settings) {
            options.set_transport(transport);
        }
        options
    }
}

fn transport(settings: &Settings) -> Option<Transport> {
    let config = Arc::clone(settings.tls.as_ref()?);
    Some(Transport::tls_with_config(TlsConfiguration::Rustls(config)))
}
