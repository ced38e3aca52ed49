//! Secrets, registries, certificates: one kind of document, three kinds of views (cloud.md 3.5).

use std::collections::BTreeMap;

use baetyl_core_lib::spec::Secret;
use baetyl_core_lib::spec::secret::{SECRET_TYPE_LABEL, SecretBytes};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Cloud, ListOptions, Tx, check_name, check_not_reserved, view};
use crate::error::ServiceError;
use crate::pki::describe_certificate;
use crate::store::Kind;

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretType {
    /// Any data.
    Config,
    /// Address, user and password of an image registry.
    Registry,
    /// A key and its certificate.
    Certificate,
}

impl SecretType {
    const fn label(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Registry => "registry",
            Self::Certificate => "certificate",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Config => "secret",
            Self::Registry => "registry",
            Self::Certificate => "certificate",
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Input {
    name: String,
    data: Option<BTreeMap<String, String>>,
    description: String,
    address: String,
    username: String,
    password: String,
}

impl Cloud {
    /// Makes a secret, registry or certificate.
    ///
    /// # Errors
    /// `Body`, `Invalid`, `Reserved`.
    pub async fn create_secret(&self, of: SecretType, body: &[u8]) -> Result<Value, ServiceError> {
        let input: Input = view::parse(body)?;
        check_name(&input.name)?;
        check_not_reserved(&input.name)?;
        let data = data_of(of, &input)?;
        let mut tx = self.begin().await;
        if tx.read::<Secret>(Kind::Secret, &input.name).await?.is_some() {
            return Err(ServiceError::invalid(format!("the secret name {:?} is already in use", input.name)));
        }
        let now = self.now_whole();
        let secret = Secret {
            name: input.name,
            namespace: self.namespace().to_owned(),
            labels: [(SECRET_TYPE_LABEL.to_owned(), of.label().to_owned())].into(),
            data,
            create_time: now,
            update_time: now,
            description: input.description,
            version: tx.version(),
            ..Secret::default()
        };
        tx.put(Kind::Secret, &secret.name, &secret.version, &secret)?;
        tx.commit().await?;
        Ok(secret_view(of, &secret, true))
    }

    /// A secret, registry or certificate. The kinds are kept apart.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn secret(&self, of: SecretType, name: &str) -> Result<Value, ServiceError> {
        let secret: Option<Secret> = self.read(Kind::Secret, name).await?;
        secret
            .filter(|secret| is(of, secret))
            .map(|secret| secret_view(of, &secret, true))
            .ok_or_else(|| ServiceError::not_found(of.word(), name))
    }

    /// All of a kind, without data.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn secrets(&self, of: SecretType, options: ListOptions) -> Result<Value, ServiceError> {
        let options = options.require("baetyl-cloud-system", "!baetyl-cloud-system");
        let options = options.require(SECRET_TYPE_LABEL, &format!("{SECRET_TYPE_LABEL}={}", of.label()));
        Ok(options.answer(self.all::<Secret>(Kind::Secret).await?, |secret| secret_view(of, &secret, false)))
    }

    /// Changes a secret's data; of registries only the description.
    ///
    /// # Errors
    /// `NotFound`, `Body`, `Invalid`.
    pub async fn update_secret(
        &self,
        of: SecretType,
        name: &str,
        body: &[u8],
    ) -> Result<Value, ServiceError> {
        let input: Input = view::parse(body)?;
        let mut tx = self.begin().await;
        let old = tx.secret(of, name).await?;
        let mut new = old.clone();
        if of != SecretType::Registry {
            new.data = data_of(of, &input)?;
        }
        new.description = input.description;
        if new != old {
            tx.replace_secret(&old, &mut new).await?;
            tx.commit().await?;
        }
        Ok(secret_view(of, &new, true))
    }

    /// Sets a registry's password.
    ///
    /// # Errors
    /// `NotFound`, `Body`, `Invalid` without a password.
    pub async fn refresh_registry(&self, name: &str, body: &[u8]) -> Result<Value, ServiceError> {
        let input: Input = view::parse(body)?;
        if input.password.is_empty() {
            return Err(ServiceError::invalid("password is required"));
        }
        let mut tx = self.begin().await;
        let old = tx.secret(SecretType::Registry, name).await?;
        let mut new = old.clone();
        new.data.insert("password".to_owned(), SecretBytes(input.password.into_bytes()));
        tx.replace_secret(&old, &mut new).await?;
        tx.commit().await?;
        Ok(secret_view(SecretType::Registry, &new, true))
    }

    /// Removes a secret. Being gone already is fine.
    ///
    /// # Errors
    /// `InUse` while an application mounts it, `Reserved`.
    pub async fn delete_secret(&self, of: SecretType, name: &str) -> Result<(), ServiceError> {
        check_not_reserved(name)?;
        let mut tx = self.begin().await;
        if !tx.read::<Secret>(Kind::Secret, name).await?.is_some_and(|secret| is(of, &secret)) {
            return Ok(());
        }
        if !tx.users(false, name).await?.is_empty() {
            return Err(ServiceError::InUse { kind: of.word(), name: name.to_owned() });
        }
        tx.delete(Kind::Secret, name);
        tx.commit().await
    }
}

impl Tx<'_> {
    async fn secret(&self, of: SecretType, name: &str) -> Result<Secret, ServiceError> {
        let secret: Option<Secret> = self.read(Kind::Secret, name).await?;
        secret.filter(|secret| is(of, secret)).ok_or_else(|| ServiceError::not_found(of.word(), name))
    }

    async fn replace_secret(&mut self, old: &Secret, new: &mut Secret) -> Result<(), ServiceError> {
        new.version = self.version();
        new.update_time = self.cloud.now_whole();
        self.keep(Kind::Secret, &old.name, &old.version, old)?;
        self.put(Kind::Secret, &new.name, &new.version, new)?;
        self.propagate(false, &new.name, &new.version).await
    }
}

fn is(of: SecretType, secret: &Secret) -> bool {
    secret.labels.get(SECRET_TYPE_LABEL).map_or("config", String::as_str) == of.label()
}

fn data_of(of: SecretType, input: &Input) -> Result<BTreeMap<String, SecretBytes>, ServiceError> {
    let bytes = |text: &str| SecretBytes(text.as_bytes().to_vec());
    let missing = || ServiceError::Body { reason: "data is required".to_owned() };
    let data: BTreeMap<String, SecretBytes> = match of {
        SecretType::Config => {
            let data = input.data.as_ref().ok_or_else(missing)?;
            data.iter().map(|(key, value)| (key.clone(), bytes(value))).collect()
        }
        SecretType::Registry => {
            let fields =
                [("address", &input.address), ("username", &input.username), ("password", &input.password)];
            if fields.iter().any(|(_, value)| value.is_empty()) {
                return Err(ServiceError::invalid("address, username and password are required"));
            }
            fields.into_iter().map(|(key, value)| (key.to_owned(), bytes(value))).collect()
        }
        SecretType::Certificate => {
            let data = input.data.as_ref().ok_or_else(missing)?;
            let part = |key: &str| data.get(key).map(String::as_str).unwrap_or_default();
            let mut stored = describe_certificate(part("certificate"), part("key"))?;
            stored.insert("key".to_owned(), part("key").to_owned());
            stored.insert("certificate".to_owned(), part("certificate").to_owned());
            stored.into_iter().map(|(key, value)| (key, bytes(&value))).collect()
        }
    };
    let size: usize = data.iter().map(|(key, value)| key.len() + value.0.len()).sum();
    if size >= 64 * 1024 {
        return Err(ServiceError::TooLarge { limit: 64 * 1024 - 1 });
    }
    Ok(data)
}

fn secret_view(of: SecretType, secret: &Secret, whole: bool) -> Value {
    let text = |key: &str| secret.data.get(key).map(|value| String::from_utf8_lossy(&value.0).into_owned());
    let mut view = Map::new();
    let mut set = |key: &str, value: Value| drop(view.insert(key.to_owned(), value));
    set("name", json!(secret.name));
    set("namespace", json!(secret.namespace));
    set("createTime", json!(secret.create_time));
    set("updateTime", json!(secret.update_time));
    set("description", json!(secret.description));
    set("version", json!(secret.version));
    match of {
        SecretType::Config if whole => {
            let data: Map<String, Value> =
                secret.data.keys().map(|key| (key.clone(), json!(text(key)))).collect();
            set("data", Value::Object(data));
        }
        SecretType::Config => {}
        SecretType::Registry => {
            set("address", json!(text("address")));
            set("username", json!(text("username")));
        }
        SecretType::Certificate => {
            for key in [
                "signatureAlgorithm",
                "effectiveTime",
                "expiredTime",
                "serialNumber",
                "issuer",
                "fingerPrint",
            ] {
                set(key, json!(text(key)));
            }
            set("data", json!({ "certificate": text("certificate") }));
        }
    }
    Value::Object(view)
}
