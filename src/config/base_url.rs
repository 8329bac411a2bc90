//! The base URL of Imprint's API. The configuration checks the base URL strictly, because every request to this URL
//! contains the API key.

use std::net::IpAddr;

use super::{ImprintEnvironment, Profile};

/// The documented host of Imprint's sandbox.
const SANDBOX_HOST: &str = "dev.sbx.imprint.co";
/// The documented host of Imprint's production.
const PRODUCTION_HOST: &str = "dev.imprint.co";

/// The scheme, host and port of Imprint's API. The scheme `http` is allowed only for a host on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    host: String,
}

impl BaseUrl {
    /// Parses a base URL with a scheme, a host and an optional port. A base URL with a path or a query is an error.
    ///
    /// # Errors
    /// Returns the reason for which the URL is not accepted.
    pub fn parse(raw: &str) -> Result<Self, String> {
        let (scheme, rest) = raw.split_once("://").ok_or("must start with https://")?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err("must not contain a user or a password".to_owned());
        }
        if authority.is_empty() || authority.contains(['/', '?', '#', '\\', ' ']) {
            return Err(
                "must be a scheme, a host and optionally a port, without a path or a query"
                    .to_owned(),
            );
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            Some(_) | None => (authority, None),
        };
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err("has an invalid port".to_owned());
        }
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_ascii_lowercase();
        let url = Self {
            text: format!("{scheme}://{authority}"),
            host,
        };
        match scheme {
            "https" if url.is_loopback() || url.address().is_none() => Ok(url),
            "https" => Err("must be a host name, not an IP address".to_owned()),
            "http" if url.is_loopback() => Ok(url),
            "http" => Err("must be https; http is allowed for this machine only".to_owned()),
            _ => Err("must start with https://".to_owned()),
        }
    }

    /// Returns the base URL without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Checks that the host of the base URL, `imprint.environment` and the profile agree.
    pub(super) fn fits(
        &self,
        profile: Profile,
        environment: ImprintEnvironment,
        allowed: &[String],
    ) -> Result<(), String> {
        let expected = match self.host.as_str() {
            SANDBOX_HOST => Some((ImprintEnvironment::Sandbox, "sandbox")),
            PRODUCTION_HOST => Some((ImprintEnvironment::Production, "production")),
            _ => None,
        };
        match expected {
            Some((expected, word)) if expected != environment => Err(format!(
                "is Imprint's {word} host, but imprint.environment is not \"{word}\""
            )),
            Some(_) => Ok(()),
            None if environment == ImprintEnvironment::Local && !self.is_loopback() => {
                Err("is not this machine, but imprint.environment is \"local\"".to_owned())
            }
            None if profile == Profile::Production && !allowed.contains(&self.host) => {
                Err(format!(
                    "must be {SANDBOX_HOST}, {PRODUCTION_HOST} or a host in imprint.host_allow"
                ))
            }
            None => Ok(()),
        }
    }

    fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.address().is_some_and(|address| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS K02
    #[test]
    fn only_scheme_host_and_port_are_accepted() {
        for good in [
            "https://dev.sbx.imprint.co",
            "https://dev.sbx.imprint.co/",
            "http://127.0.0.1:9000",
            "http://localhost:1",
            "http://[::1]:80",
        ] {
            assert!(BaseUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "dev.sbx.imprint.co",
            "http://dev.sbx.imprint.co",
            "https://user:pw@dev.sbx.imprint.co",
            "https://dev.sbx.imprint.co/v2",
            "https://dev.sbx.imprint.co?x=1",
            "https://169.254.169.254",
            "https://10.0.0.1:443",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "http://127.0.0.1:99999",
            "ftp://127.0.0.1",
            "https://",
        ] {
            assert!(BaseUrl::parse(bad).is_err(), "{bad}");
        }
    }

    /// FAULTS M11
    #[test]
    fn host_environment_and_profile_must_agree() {
        use ImprintEnvironment as Env;
        let check = |url: &str, profile, environment, expected: bool| {
            let allowed = ["proxy.example.com".to_owned()];
            let verdict = BaseUrl::parse(url)
                .unwrap()
                .fits(profile, environment, &allowed);
            assert_eq!(
                verdict.is_ok(),
                expected,
                "{url} {profile:?} {environment:?}"
            );
        };
        let (local, production) = (Profile::Local, Profile::Production);
        check("https://dev.sbx.imprint.co", production, Env::Sandbox, true);
        check("https://dev.imprint.co", production, Env::Production, true);
        check("https://dev.imprint.co", local, Env::Sandbox, false);
        check("https://dev.sbx.imprint.co", local, Env::Production, false);
        check("https://dev.sbx.imprint.co", local, Env::Local, false);
        check("http://127.0.0.1:1", local, Env::Sandbox, true);
        check("http://127.0.0.1:1", production, Env::Sandbox, false);
        check(
            "https://proxy.example.com",
            production,
            Env::Production,
            true,
        );
        check(
            "https://other.example.com",
            production,
            Env::Production,
            false,
        );
        check("https://other.example.com", local, Env::Local, false);
    }
}
