//! The connections to Imprint: the certificate of the bridge, and the credentials for the proxy. The bridge reads their
//! files at the start and every few seconds, because operators rotate them while the process runs.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use rustls::RootCertStore;
use tokio::sync::watch;

use super::client_certificate;
use super::held_secret::LossRule;
use super::reread::Rereads;
use super::secret_file::{CheckSecret, SecretFile, SecretForm, SecretPlace};
use super::setting_files::roots;
use crate::config::egress::check_credentials;
use crate::config::{Config, ProxySettings};
use crate::http::egress::{Egress, tls};
use crate::http::proxy::Proxy;
use crate::metrics::SecretKind;

/// A task that repeatedly reads the files, and gives the dispatch threads the new means to reach Imprint.
pub(super) struct EgressWatch {
    files: EgressFiles,
    egress: watch::Sender<Arc<Egress>>,
    rereads: Rereads,
}

/// The files and settings for the connections to Imprint.
struct EgressFiles {
    roots: Option<Arc<RootCertStore>>,
    certificate: Option<Arc<SecretFile>>,
    proxy: Option<ProxySettings>,
    credentials: Option<Arc<SecretFile>>,
}

impl EgressWatch {
    /// Reads the files in the settings.
    pub(super) fn open(config: &Config, rereads: Rereads) -> anyhow::Result<Self> {
        let files = EgressFiles::open(config, &rereads)?;
        Ok(Self {
            egress: watch::Sender::new(Arc::new(files.egress()?)),
            files,
            rereads,
        })
    }

    /// Returns the means to reach Imprint, and every later change.
    pub(super) fn means(&self) -> watch::Receiver<Arc<Egress>> {
        self.egress.subscribe()
    }

    /// Reads the files repeatedly, and never returns. New connections use a new certificate and new credentials, and no
    /// connection with the previous ones carries another request.
    pub(super) async fn watch(&self) {
        let files = [&self.files.certificate, &self.files.credentials];
        let files: Vec<_> = files.into_iter().flatten().map(Arc::clone).collect();
        loop {
            self.rereads.next().await;
            if self.rereads.read_secrets(SecretKind::Egress, &files).await
                && let Err(error) = self.use_files()
            {
                let error = format!("{error:#}");
                tracing::error!(error, "cannot use new files for the connections to Imprint");
            }
        }
    }

    fn use_files(&self) -> anyhow::Result<()> {
        let egress = Arc::new(self.files.egress()?);
        self.egress.send_replace(egress);
        Ok(())
    }
}

impl EgressFiles {
    fn open(config: &Config, rereads: &Rereads) -> anyhow::Result<Self> {
        let open = |setting: &str, path: &Path, form, check| {
            let place = SecretPlace {
                owner: format!("imprint.{setting}"),
                path: path.to_owned(),
                form,
                profile: config.profile,
                // Without the certificate or the credentials, the bridge would reach nobody.
                rule: LossRule::Keep,
                check,
            };
            let file = SecretFile::open(place, rereads.moment());
            match file.flaw() {
                None => Ok(file),
                Some(flaw) => Err(anyhow!("imprint.{setting}: {}", flaw.text())),
            }
        };
        let egress = &config.imprint.egress;
        let certificate = egress.certificate.as_ref().map(|files| {
            let form = SecretForm::Certificate(files.certificate.clone());
            let check: CheckSecret = Arc::new(client_certificate::check);
            open("client_key_file", &files.key, form, check)
        });
        let credentials = egress.proxy.as_ref();
        let credentials = credentials.and_then(|proxy| proxy.credentials_file.as_deref());
        let credentials = credentials.map(|file| {
            let check: CheckSecret = Arc::new(check_credentials);
            open("proxy_credentials_file", file, SecretForm::Line, check)
        });
        Ok(Self {
            roots: roots(("imprint.ca_file", config.imprint.ca_file.as_deref()))?.map(Arc::new),
            certificate: certificate.transpose()?,
            proxy: egress.proxy.clone(),
            credentials: credentials.transpose()?,
        })
    }

    /// Returns the means to reach Imprint with the secrets in use.
    fn egress(&self) -> anyhow::Result<Egress> {
        let secret = |file: &Option<Arc<SecretFile>>| file.as_ref().and_then(|file| file.secret());
        let certificate = secret(&self.certificate).map(|text| {
            client_certificate::parse(&text).context("imprint.client_certificate_file")
        });
        let credentials = secret(&self.credentials);
        let proxy = self.proxy.as_ref();
        let proxy = proxy.map(|proxy| Proxy::new(&proxy.url, credentials.as_ref()));
        let proxy = proxy.transpose().context("imprint.proxy_url")?;
        Ok(Egress {
            tls: tls(self.roots.clone(), certificate.transpose()?)?,
            proxy: proxy.map(Arc::new),
        })
    }
}
