//! The wire model, version 1: plain data with public fields, as it travels between cloud and node.
//!
//! Field names, defaults and what is left out when empty follow the original's Go encoding, because
//! clouds and nodes of the original read and write the same documents. Unknown fields are ignored on
//! decoding and never an error; unknown enum values travel through unchanged.
//!
//! This module imports nothing of ours and knows no I/O.

pub mod activation;
pub mod admin;
pub mod application;
pub mod configuration;
pub mod desire;
pub mod duration;
pub mod hex;
pub mod message;
pub mod name;
pub mod node;
pub mod quantity;
pub mod report;
pub mod resource;
pub mod secret;
pub mod services;
pub mod stats;
pub mod sts;
mod wire;

pub use self::activation::{ActiveRequest, ActiveResponse, Certificate};
pub use self::application::{AppInfo, AppSpec, Service, Volume, VolumeMount};
pub use self::configuration::{Configuration, ConfigurationObject, OBJECT_PREFIX};
pub use self::desire::{Delta, Desire};
pub use self::message::{Kind, Message};
pub use self::name::{AppName, NameError, NodeName, Version};
pub use self::node::{NodeInfo, NodeSpec, NodeStats};
pub use self::quantity::Quantity;
pub use self::report::{CoreInfo, Report};
pub use self::resource::{DesireRequest, DesireResponse, ResourceInfo, ResourceKind, ResourceValue};
pub use self::secret::Secret;
pub use self::stats::{AppStats, InstanceStats, Status};
pub use self::sts::{STS_KIND, StsRequest, StsResponse};
pub use self::wire::{Section, Timestamp, base64};
