//! Certificates of services: given once, renewed in place.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use baetyl_core_lib::application::{Content, Scope};
use baetyl_core_lib::cert::{CertError, CertIssuer, CertRequest, IssuedCert};

use super::bed::{Bed, web};

/// An authority whose certificates are of this generation.
#[derive(Debug, Default)]
struct Authority {
    generation: AtomicUsize,
}

#[async_trait]
impl CertIssuer for Authority {
    async fn issue(&self, request: &CertRequest) -> Result<IssuedCert, CertError> {
        let generation = self.generation.load(Ordering::SeqCst);
        let text = |text: String| Content(text.into_bytes());
        Ok(IssuedCert {
            cert: text(format!("{} {generation}", request.common_name)),
            key: text("key".to_owned()),
            ca: text("ca".to_owned()),
        })
    }

    async fn retain(&self, _: &BTreeSet<String>) -> Result<(), CertError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_in_place_and_nothing_is_restarted() {
    let mut bed = Bed::new().await;
    let authority = Arc::new(Authority::default());
    bed.certs = Some(authority.clone());
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    let before = bed.stats("web").instances;

    bed.engine.clear_calls();
    bed.pass(7200.0).await;
    assert!(bed.engine.calls().is_empty(), "certificates that are not due are left alone");

    authority.generation.fetch_add(1, Ordering::SeqCst);
    bed.pass(3600.0).await;
    assert_eq!(bed.engine.calls(), ["apply user web@1"]);
    assert_eq!(bed.stats("web").instances, before);
    let volume = "baetyl-cert-volume-df13ad2f0a46c83b4b2e2fb7401273c3";
    let files = bed.engine.files(Scope::User, &web("1").info(), volume).unwrap();
    assert_eq!(files["crt.pem"].0, b"web.server 1");

    bed.stop().await;
    bed.start().await;
    bed.pass(7200.0).await;
    assert_eq!(bed.engine.calls(), ["apply user web@1"], "a new start knows which ones are in place");
}
