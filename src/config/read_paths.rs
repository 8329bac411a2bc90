//! The files and folders that the running bridge reads again, or for the first time after its start.

use std::path::PathBuf;

use super::sources::{Auth, SourceSettings};
use super::{Config, sealing_keys};

/// The files and folders that the running bridge reads.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ReadPaths {
    pub files: Vec<PathBuf>,
    pub folders: Vec<PathBuf>,
}

impl Config {
    /// Returns the secret files in the settings and of the sources with these kinds of authentication.
    pub fn secret_files(&self, auths: &[&Auth]) -> Vec<PathBuf> {
        let keys = [
            &self.imprint.key_file,
            &self.imprint.previous_key_file,
            &self.imprint.merchant_key_file,
        ];
        let keys = keys.into_iter().flatten().cloned();
        let certificate = self.imprint.egress.certificate.as_ref();
        let certificate_key = certificate.map(|files| files.key.clone());
        let proxy = self.imprint.egress.proxy.as_ref();
        let credentials = proxy.and_then(|proxy| proxy.credentials_file.clone());
        let tokens = self.operators.iter().map(|one| one.token_file.clone());
        let of_sources = auths.iter().filter_map(|auth| auth.files());
        let of_sources = of_sources.flat_map(|files| files.paths.iter().cloned());
        let sealing = sealing_keys::files(self.outbox.keys_dir.as_deref());
        let password = self.outbox.password_file.iter().cloned();
        let audit_keys = self.audit_keys.paths().iter().cloned();
        let notices = self.notices.iter().map(|one| one.secret_file.clone());
        let traces = self.traces.iter().filter_map(|one| one.secret.as_ref());
        let traces = traces.map(|secret| secret.file.clone());
        keys.chain(certificate_key)
            .chain(credentials)
            .chain(tokens)
            .chain(audit_keys)
            .chain(password)
            .chain(notices)
            .chain(traces)
            .chain(of_sources)
            .chain(sealing)
            .collect()
    }

    /// Returns the files and folders in the settings and in the source files.
    pub fn read_paths(&self, sources: &[SourceSettings]) -> ReadPaths {
        let auths: Vec<_> = sources.iter().map(|source| &source.auth).collect();
        let mut files = self.secret_files(&auths);
        let certificate = self.imprint.egress.certificate.as_ref();
        files.extend(certificate.map(|files| files.certificate.clone()));
        files.extend(self.imprint.ca_file.clone());
        files.extend(self.outbox.ca_file.clone());
        let notices = self.notices.as_ref();
        files.extend(notices.and_then(|notices| notices.ca_file.clone()));
        let traces = self.traces.as_ref();
        files.extend(traces.and_then(|traces| traces.ca_file.clone()));
        let mut folders = vec![self.sources_dir.clone(), self.schemas_dir.clone()];
        folders.extend(self.outbox.keys_dir.clone());
        folders.extend(self.confinement.readable.iter().cloned());
        ReadPaths { files, folders }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::config::{DEFAULT, Purpose};

    /// FAULTS N541: without this test, a new setting with a file works until the bridge reads the file again: the
    /// confined bridge cannot open it.
    #[test]
    fn every_setting_that_names_a_file_or_folder_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (mut settings, mut section, mut expected) = (String::new(), String::new(), Vec::new());
        let lines = DEFAULT.lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            if line.starts_with('[') {
                line.clone_into(&mut section);
            }
            let Some((key, _)) = line.split_once(" = ") else {
                continue;
            };
            if !["_file", "_files", "_dir", "_dirs"]
                .iter()
                .any(|end| key.ends_with(end))
            {
                continue;
            }
            let path = folder.path().join(key);
            let value = match key.ends_with('s') {
                true => format!("[{path:?}]"),
                false => format!("{path:?}"),
            };
            let key = format!("{section}.{key}").replace(['[', ']'], "");
            writeln!(settings, "{} = {value}", key.trim_start_matches('.')).unwrap();
            expected.push(path);
        }
        assert!(expected.len() >= 6, "{expected:?}");
        settings.push_str("imprint.proxy_url = \"http://127.0.0.1:3128\"\n");
        settings.push_str("notices.url = \"https://hooks.example/\"\n");
        settings.push_str("traces.endpoint = \"https://otel.example/\"\n");
        let file = folder.path().join("settings.toml");
        std::fs::write(&file, settings).unwrap();
        let config = Config::read_apart(&[file], Purpose::Check).unwrap();
        let ReadPaths { files, folders } = config.read_paths(&[]);
        for path in expected {
            assert!(
                files.contains(&path) || folders.contains(&path),
                "Config::read_paths lacks {}",
                path.display()
            );
        }
    }
}
