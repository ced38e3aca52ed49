//! Batches, and the first contact of a node (cloud.md 3.9, edge.md 3.4).

use baetyl_core_lib::spec::activation::{Batch, BatchRecord};
use baetyl_core_lib::spec::{ActiveRequest, ActiveResponse, Certificate, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::{NodeInput, NodeRecord};
use super::{Cloud, ListOptions, Listed, Tx, check_labels, check_name, view};
use crate::error::ServiceError;
use crate::store::Kind;

/// A batch as it is written and stored: the fields of the original, and until when it takes nodes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BatchInput {
    /// The original's fields.
    #[serde(flatten)]
    pub batch: Batch,
    /// When the token ends; never, when it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire_time: Option<Timestamp>,
}

impl Listed for BatchInput {
    fn name(&self) -> &str {
        &self.batch.name
    }
    fn labels(&self) -> &std::collections::BTreeMap<String, String> {
        &self.batch.labels
    }
    fn create_time(&self) -> Timestamp {
        self.batch.create_time
    }
}

/// Whose key an activated node uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKey {
    /// Its own: the cloud saw a signing request only.
    Own,
    /// One that the cloud made and sent.
    Sent,
}

const BATCH_ATTR: &str = "baetylBatch";

impl Cloud {
    /// Makes a batch.
    ///
    /// # Errors
    /// `Body`, `Invalid`.
    pub async fn create_batch(&self, body: &[u8]) -> Result<Value, ServiceError> {
        let mut input: BatchInput = view::parse(body)?;
        check_batch(&mut input.batch)?;
        let mut tx = self.begin().await;
        let name = input.batch.name.clone();
        if tx.read::<BatchInput>(Kind::Batch, &name).await?.is_some() {
            return Err(ServiceError::invalid(format!("the batch name {name:?} is already in use")));
        }
        self.namespace().clone_into(&mut input.batch.namespace);
        input.batch.create_time = self.now_whole();
        input.batch.update_time = input.batch.create_time;
        if input.batch.security_type == "Token" && input.batch.security_key.is_empty() {
            input.batch.security_key = self.random.word(32);
        }
        tx.put(Kind::Batch, &name, "", &input)?;
        tx.commit().await?;
        Ok(json!(input))
    }

    /// A batch.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn batch(&self, name: &str) -> Result<Value, ServiceError> {
        let batch: Option<BatchInput> = self.read(Kind::Batch, name).await?;
        batch.map(|batch| json!(batch)).ok_or_else(|| ServiceError::not_found("batch", name))
    }

    /// All batches.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn batches(&self, options: &ListOptions) -> Result<Value, ServiceError> {
        let batches = self.all::<BatchInput>(Kind::Batch).await?;
        Ok(options.answer(batches, |batch| json!(batch)))
    }

    /// Changes a batch. Nodes that are there already stay as they are.
    ///
    /// # Errors
    /// `NotFound`, `Body`, `Invalid`.
    pub async fn update_batch(&self, name: &str, body: &[u8]) -> Result<Value, ServiceError> {
        let mut input: BatchInput = view::parse(body)?;
        name.clone_into(&mut input.batch.name);
        check_batch(&mut input.batch)?;
        let mut tx = self.begin().await;
        let old: Option<BatchInput> = tx.read(Kind::Batch, name).await?;
        let old = old.ok_or_else(|| ServiceError::not_found("batch", name))?;
        self.namespace().clone_into(&mut input.batch.namespace);
        input.batch.create_time = old.batch.create_time;
        input.batch.update_time = self.now_whole();
        if input.batch.security_key.is_empty() {
            input.batch.security_key = old.batch.security_key;
        }
        tx.put(Kind::Batch, name, "", &input)?;
        tx.commit().await?;
        Ok(json!(input))
    }

    /// Removes a batch that has no records. Being gone already is fine.
    ///
    /// # Errors
    /// `Invalid` while it has records.
    pub async fn delete_batch(&self, name: &str) -> Result<(), ServiceError> {
        let mut tx = self.begin().await;
        if !records(&tx, name).await?.is_empty() {
            return Err(ServiceError::invalid(format!(
                "the batch {name:?} has records: delete its nodes and records first"
            )));
        }
        tx.delete(Kind::Batch, name);
        tx.commit().await
    }

    /// The records of a batch.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn batch_records(&self, batch: &str) -> Result<Value, ServiceError> {
        self.batch(batch).await?;
        let tx = self.begin().await;
        let records = records(&tx, batch).await?;
        Ok(json!({ "total": records.len(), "items": records }))
    }

    /// Puts a fingerprint on a batch's list.
    ///
    /// # Errors
    /// `NotFound`, `Body`, `Invalid` for a fingerprint that is there or is none.
    pub async fn create_batch_record(&self, batch: &str, body: &[u8]) -> Result<Value, ServiceError> {
        let mut record: BatchRecord = view::parse(body)?;
        self.batch(batch).await?;
        if record.fingerprint_value.trim().is_empty() {
            return Err(ServiceError::invalid("fingerprintValue is required"));
        }
        batch.clone_into(&mut record.batch_name);
        self.namespace().clone_into(&mut record.namespace);
        if record.name.is_empty() {
            record.name = self.random.word(16);
        }
        record.active = 0;
        let mut tx = self.begin().await;
        let key = record_key(batch, &record.fingerprint_value);
        if tx.read::<BatchRecord>(Kind::Record, &key).await?.is_some() {
            return Err(ServiceError::invalid(format!(
                "the fingerprint {:?} is there already",
                record.fingerprint_value
            )));
        }
        tx.put(Kind::Record, &key, "", &record)?;
        tx.commit().await?;
        Ok(json!(record))
    }

    /// Takes a fingerprint off a batch's list; its node stays.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_batch_record(&self, batch: &str, name: &str) -> Result<(), ServiceError> {
        let mut tx = self.begin().await;
        let record = records(&tx, batch).await?.into_iter().find(|record| record.name == name);
        let record = record.ok_or_else(|| ServiceError::not_found("record", name))?;
        tx.delete(Kind::Record, &record_key(batch, &record.fingerprint_value));
        tx.commit().await
    }

    /// Makes a node of whoever holds a batch's token, or gives it a certificate again.
    ///
    /// # Errors
    /// `NotFound` for an unknown batch, `Denied` for a wrong token, `Invalid` for an expired one, a full
    /// batch, an unlisted fingerprint or a bad signing request.
    pub async fn activate(&self, body: &[u8], client_ip: &str) -> Result<ActiveResponse, ServiceError> {
        let request: ActiveRequest = view::parse(body)?;
        let mut tx = self.begin().await;
        let batch_name = &request.batch_name;
        let known = request.namespace.is_empty() || request.namespace == self.namespace();
        let batch: Option<BatchInput> = tx.read(Kind::Batch, batch_name).await?;
        let batch = batch.filter(|_| known).ok_or_else(|| ServiceError::NotFound {
            kind: "batch",
            name: format!("{batch_name} of namespace {}", request.namespace),
        })?;
        self.check_token(&batch, &request)?;
        let fingerprint = request.fingerprint_value.trim();
        if fingerprint.is_empty() {
            return Err(ServiceError::invalid(
                "fingerprintValue is empty: configure a fingerprint that this device has",
            ));
        }
        let name = node_name(fingerprint)?;
        let common_name = format!("{}.{name}", self.namespace());
        let (cert, key, node_key) = if request.csr.is_empty() {
            let (cert, key) = self.authority.issue(&common_name)?;
            (cert, key, NodeKey::Sent)
        } else {
            (self.authority.sign(&common_name, &request.csr)?, String::new(), NodeKey::Own)
        };
        tx.admit(&batch.batch, &request, fingerprint, &name, node_key, client_ip).await?;
        tx.commit().await?;
        tracing::info!(node = name, batch = batch_name, "node activated");
        let certificate = Certificate { ca: self.authority.ca_pem(), key, cert, ..Certificate::default() };
        Ok(ActiveResponse {
            node_name: name,
            namespace: self.namespace().to_owned(),
            certificate,
            mqtt_cert: Certificate::default(),
        })
    }

    fn check_token(&self, batch: &BatchInput, request: &ActiveRequest) -> Result<(), ServiceError> {
        let BatchInput { batch, expire_time } = batch;
        if batch.security_type != request.security_type {
            return Err(ServiceError::invalid(format!(
                "securityType {:?}: the batch {:?} wants {:?}",
                request.security_type, batch.name, batch.security_type
            )));
        }
        // Both digests are of one length, so the comparison tells nothing of where they differ.
        let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let equal = digest(&batch.security_key).as_ref() == digest(&request.security_value).as_ref();
        if batch.security_type == "Token" && !equal {
            return Err(ServiceError::Denied {
                reason: format!(
                    "the token is not that of batch {:?}: set init.batch.securityKey to its securityKey",
                    batch.name
                ),
            });
        }
        if let Some(expired) = expire_time.filter(|time| *time <= self.now()) {
            return Err(ServiceError::invalid(format!(
                "the token of batch {:?} expired at {expired}: ask for a new one, or move the batch's expireTime",
                batch.name
            )));
        }
        Ok(())
    }
}

impl Tx<'_> {
    /// Frees the place in its batch that a deleted node had.
    pub(super) async fn release_record(&mut self, node: &NodeRecord) -> Result<(), ServiceError> {
        let Some(batch) = node.attr(BATCH_ATTR).map(str::to_owned) else { return Ok(()) };
        for mut record in records(self, &batch).await? {
            if record.node_name == node.spec.name {
                record.active = 0;
                record.node_name.clear();
                self.put(Kind::Record, &record_key(&batch, &record.fingerprint_value), "", &record)?;
            }
        }
        Ok(())
    }

    async fn admit(
        &mut self,
        batch: &Batch,
        request: &ActiveRequest,
        fingerprint: &str,
        name: &str,
        node_key: NodeKey,
        client_ip: &str,
    ) -> Result<(), ServiceError> {
        let all = records(self, &batch.name).await?;
        let record = all.iter().find(|record| record.fingerprint_value == fingerprint).cloned();
        if record.is_none() && batch.enable_whitelist == 1 {
            return Err(ServiceError::invalid(format!(
                "the fingerprint {fingerprint:?} is not on the list of batch {:?}: add a record for it",
                batch.name
            )));
        }
        let mut record = record.unwrap_or_else(|| BatchRecord {
            name: self.cloud.random.word(16),
            batch_name: batch.name.clone(),
            namespace: self.cloud.namespace().to_owned(),
            fingerprint_value: fingerprint.to_owned(),
            ..BatchRecord::default()
        });
        let known: Option<NodeRecord> = self.read(Kind::Node, name).await?;
        if let Some(mut node) = known {
            // A token must not take over a node of another batch, or one that a person made.
            if record.active != 1 || record.node_name != name {
                return Err(ServiceError::invalid(format!(
                    "the node name {name:?} belongs to another node: delete that node, or use another fingerprint"
                )));
            }
            node.own_key = node_key == NodeKey::Own;
            self.put(Kind::Node, name, &node.spec.version.clone(), &node)?;
        } else {
            let active =
                i64::try_from(all.iter().filter(|record| record.active == 1).count()).unwrap_or(i64::MAX);
            if active >= batch.quota_num {
                return Err(ServiceError::invalid(format!(
                    "the batch {:?} is full with {active} nodes: raise its quotaNum",
                    batch.name
                )));
            }
            let mut labels = batch.labels.clone();
            labels.insert("baetyl-batch".to_owned(), batch.name.clone());
            let mut attr: std::collections::BTreeMap<String, Value> = request
                .penetrate_data
                .iter()
                .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
                .collect();
            attr.insert(BATCH_ATTR.to_owned(), Value::from(batch.name.as_str()));
            let mode = [&request.mode, &batch.node_mode].into_iter().find(|mode| !mode.is_empty());
            let input = NodeInput {
                name: name.to_owned(),
                labels,
                attr,
                accelerator: batch.accelerator.clone(),
                node_mode: mode.cloned().unwrap_or_default(),
                cluster: batch.cluster == 1,
                sys_apps: batch.sys_apps.clone(),
                ..NodeInput::default()
            };
            self.create_node(input, node_key == NodeKey::Own).await?;
        }
        record.active = 1;
        name.clone_into(&mut record.node_name);
        client_ip.clone_into(&mut record.active_ip);
        record.active_time = self.cloud.now_whole();
        self.put(Kind::Record, &record_key(&batch.name, fingerprint), "", &record)
    }
}

async fn records(tx: &Tx<'_>, batch: &str) -> Result<Vec<BatchRecord>, ServiceError> {
    let all: Vec<BatchRecord> = tx.all(Kind::Record).await?;
    Ok(all.into_iter().filter(|record| record.batch_name == batch).collect())
}

fn record_key(batch: &str, fingerprint: &str) -> String {
    format!("{batch}/{fingerprint}")
}

/// A node's name from its fingerprint: lower case, and what a name cannot have replaced by dashes.
fn node_name(fingerprint: &str) -> Result<String, ServiceError> {
    let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '.';
    let lower = fingerprint.to_lowercase();
    let name: String = lower.chars().map(|letter| if fits(letter) { letter } else { '-' }).take(63).collect();
    let name = name.trim_matches(['-', '.']);
    if name.len() < 2 {
        return Err(ServiceError::invalid(format!(
            "the fingerprint {fingerprint:?} gives no node name of 2 or more letters"
        )));
    }
    Ok(name.to_owned())
}

fn check_batch(batch: &mut Batch) -> Result<(), ServiceError> {
    check_name(&batch.name)?;
    check_labels(&batch.labels)?;
    if batch.quota_num == 0 {
        batch.quota_num = 200;
    }
    if batch.security_type.is_empty() {
        "Token".clone_into(&mut batch.security_type);
    }
    if !["None", "Token"].contains(&batch.security_type.as_str()) {
        return Err(ServiceError::invalid(format!(
            "securityType {:?}: use None or Token",
            batch.security_type
        )));
    }
    Ok(())
}
