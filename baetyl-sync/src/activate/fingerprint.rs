//! What tells this node from all others (edge.md 3.3). Pure: what is known of the machine is an argument.

use std::collections::BTreeMap;

use baetyl_core_lib::spec::NodeInfo;

/// What is known of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its host name.
    pub hostname: String,
    /// The identity of the installation.
    pub machine_id: String,
    /// The identity of the board.
    pub system_uuid: String,
    /// The identity of the boot.
    pub boot_id: String,
    /// The contents of the files with serial numbers, by file name.
    pub serials: BTreeMap<String, String>,
}

impl From<&NodeInfo> for Facts {
    fn from(info: &NodeInfo) -> Self {
        Self {
            hostname: info.hostname.clone(),
            machine_id: info.machine_id.clone(),
            system_uuid: info.system_uuid.clone(),
            boot_id: info.boot_id.clone(),
            serials: BTreeMap::new(),
        }
    }
}

/// Which fact proves who the node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The attribute of this name, which a person or the configuration gave; where it is empty, the
    /// board's identity.
    Input(String),
    /// The content of the file of this name in the folder of serial numbers.
    SerialNumber(String),
    /// The host name.
    HostName,
    /// The identity of the installation.
    MachineId,
    /// The identity of the board.
    SystemUuid,
    /// The identity of the boot.
    BootId,
}

impl Proof {
    /// Reads an item of `init.active.collector.fingerprints`.
    ///
    /// # Errors
    /// When there is no such proof.
    pub fn parse(proof: &str, value: &str) -> Result<Self, FingerprintError> {
        match proof {
            "input" => Ok(Self::Input(value.to_owned())),
            "sn" => Ok(Self::SerialNumber(value.to_owned())),
            "hostName" => Ok(Self::HostName),
            "machineID" => Ok(Self::MachineId),
            "systemUUID" => Ok(Self::SystemUuid),
            "bootID" => Ok(Self::BootId),
            other => Err(FingerprintError::Unknown { proof: other.to_owned() }),
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Input(_) => "input",
            Self::SerialNumber(_) => "sn",
            Self::HostName => "hostName",
            Self::MachineId => "machineID",
            Self::SystemUuid => "systemUUID",
            Self::BootId => "bootID",
        }
    }
}

/// A node cannot tell who it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// There is no such proof.
    #[error(
        "fingerprint proof {proof:?} is unknown: use input, sn, hostName, machineID, systemUUID or bootID"
    )]
    Unknown {
        /// What was configured.
        proof: String,
    },
    /// No proof is configured.
    #[error("no fingerprint is configured: give one under init.active.collector.fingerprints")]
    Missing,
    /// This machine has nothing to show.
    #[error(
        "fingerprint proof {proof} {value:?} is empty on this node: give the value, or configure another proof"
    )]
    Empty {
        /// The proof.
        proof: &'static str,
        /// The attribute or file that was asked for.
        value: String,
    },
}

/// The fingerprint by the first proof that is configured: the others never count, so that a node does not
/// change who it is with what happens to be readable.
pub(super) fn fingerprint(
    proofs: &[Proof],
    attributes: &BTreeMap<String, String>,
    facts: &Facts,
) -> Result<String, FingerprintError> {
    let proof = proofs.first().ok_or(FingerprintError::Missing)?;
    let text = |value: Option<&String>| value.map_or("", |value| value.trim()).to_owned();
    let (value, asked) = match proof {
        Proof::Input(name) => {
            let given = text(attributes.get(name));
            (if given.is_empty() { text(Some(&facts.system_uuid)) } else { given }, name.as_str())
        }
        Proof::SerialNumber(file) => (text(facts.serials.get(file)), file.as_str()),
        Proof::HostName => (text(Some(&facts.hostname)), ""),
        Proof::MachineId => (text(Some(&facts.machine_id)), ""),
        Proof::SystemUuid => (text(Some(&facts.system_uuid)), ""),
        Proof::BootId => (text(Some(&facts.boot_id)), ""),
    };
    if value.is_empty() {
        return Err(FingerprintError::Empty { proof: proof.name(), value: asked.to_owned() });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(proof: &str, value: &str, expected: Result<&str, &str>) {
        let facts = Facts {
            hostname: "gate".to_owned(),
            machine_id: "m1".to_owned(),
            system_uuid: "u1".to_owned(),
            boot_id: String::new(),
            serials: BTreeMap::from([("board".to_owned(), " s1\n".to_owned())]),
        };
        let attributes = BTreeMap::from([("name".to_owned(), "n1".to_owned())]);
        let found = Proof::parse(proof, value)
            .and_then(|proof| fingerprint(&[proof, Proof::HostName], &attributes, &facts))
            .map_err(|error| error.to_string());
        match expected {
            Ok(expected) => assert_eq!(found.as_deref(), Ok(expected)),
            Err(expected) => assert!(found.as_ref().is_err_and(|text| text.contains(expected)), "{found:?}"),
        }
    }

    #[test]
    fn the_first_proof_decides() {
        check("input", "name", Ok("n1"));
        check("input", "other", Ok("u1"));
        check("sn", "board", Ok("s1"));
        check("sn", "gone", Err(r#"proof sn "gone" is empty"#));
        check("hostName", "", Ok("gate"));
        check("machineID", "", Ok("m1"));
        check("systemUUID", "", Ok("u1"));
        check("bootID", "", Err("proof bootID"));
        check("face", "", Err(r#"proof "face" is unknown"#));
        let none = fingerprint(&[], &BTreeMap::new(), &Facts::default());
        assert_eq!(none, Err(FingerprintError::Missing));
    }
}
