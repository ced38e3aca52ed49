//! What is ours: activation, isolation, objects, push.

use serde_json::{Value, json};

use crate::client::Running;
