//! `services.yml`: which ports the services of a native node listen on (edge.md 7.7).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Ports by service name, or by application name for functions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Services(pub BTreeMap<String, ServicePorts>);

/// The ports of one service, one for each instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServicePorts {
    /// The ports.
    pub ports: Vec<u16>,
}

impl Services {
    /// The file's text: keys sorted, ports as a block list, as the original writes it.
    ///
    /// ```
    /// # use baetyl_core_lib::spec::services::{ServicePorts, Services};
    /// let services = Services([("web".to_owned(), ServicePorts { ports: vec![50200, 50201] })].into());
    /// assert_eq!(services.to_yaml(), "web:\n    ports:\n        - 50200\n        - 50201\n");
    /// ```
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        for (name, service) in self.0.iter().filter(|(_, service)| !service.ports.is_empty()) {
            text += &format!("{name}:\n    ports:\n");
            for port in &service.ports {
                text += &format!("        - {port}\n");
            }
        }
        if text.is_empty() { "{}\n".to_owned() } else { text }
    }
}
