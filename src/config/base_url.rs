//! The base URL of Imprint's API. The configuration checks the base URL strictly, because every request to this URL
//! contains the API key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{ImprintEnvironment, Profile};

/// The documented host of Imprint's sandbox.
const SANDBOX_HOST: &str = "dev.sbx.imprint.co";
/// The documented host of Imprint's production.
const PRODUCTION_HOST: &str = "dev.imprint.co";

/// The domain of Imprint.
const DOMAIN: &str = "imprint.co";
/// The domain of Imprint's sandbox.
const SANDBOX_DOMAIN: &str = "sbx.imprint.co";

/// The scheme, host and port of Imprint's API. The scheme `http` is allowed only for a host on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    host: Host,
}

/// The host of a base URL, in one canonical spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// A host name in lower case, without a dot at its end.
    Name(String),
    Address(IpAddr),
}

/// The error text for a base URL without a scheme, or with another scheme.
const SCHEMES: &str =
    "must start with https://, or with http:// if the host is this machine, such as 127.0.0.1";

impl BaseUrl {
    /// Parses a base URL with a scheme, a host and an optional port. A base URL with a path or a query is an error.
    ///
    /// # Errors
    /// Returns the reason why the URL is not valid.
    pub fn parse(raw: &str) -> Result<Self, String> {
        if raw.trim() != raw {
            return Err("has white space before or after it: remove it".to_owned());
        }
        let (scheme, rest) = raw.split_once("://").ok_or(SCHEMES)?;
        let (host, port) = host_and_port(rest.strip_suffix('/').unwrap_or(rest))?;
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let url = Self {
            text: format!("{scheme}://{}{port}", host.text()),
            host,
        };
        match (scheme, &url.host) {
            ("https" | "http", host) if host.is_loopback() => Ok(url),
            ("https", Host::Name(_)) => Ok(url),
            ("https", Host::Address(_)) => Err("must be a host name, not an IP address".to_owned()),
            ("http", _) => Err("must be https; http is allowed for this machine only".to_owned()),
            _ => Err(SCHEMES.to_owned()),
        }
    }

    /// Returns the base URL without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the host of the base URL, in its canonical spelling.
    pub fn host(&self) -> String {
        self.host.text()
    }

    /// Returns whether the base URL uses TLS.
    pub fn has_tls(&self) -> bool {
        self.text.starts_with("https://")
    }

    /// Returns whether Imprint documents this host.
    pub fn is_documented(&self) -> bool {
        let host = self.host.text();
        host == SANDBOX_HOST || host == PRODUCTION_HOST
    }

    /// Checks that the host of the base URL fits the setting `imprint.environment` and the profile.
    pub(super) fn fits(
        &self,
        profile: Profile,
        environment: ImprintEnvironment,
        allowed: &[AllowedHost],
    ) -> Result<(), String> {
        let is_production = profile == Profile::Production;
        if let Some((expected, word)) = self.host.environment()
            && expected != environment
        {
            return Err(format!(
                "is Imprint's {word} host, but imprint.environment is not \"{word}\""
            ));
        }
        if environment == ImprintEnvironment::Local && !self.host.is_loopback() {
            return Err("is not this machine, but imprint.environment is \"local\"".to_owned());
        }
        if is_production && environment == ImprintEnvironment::Local {
            return Err(
                "must be Imprint's host with the profile \"production\", but imprint.environment is \"local\"".to_owned(),
            );
        }
        let is_allowed = || allowed.iter().any(|allowed| allowed.0 == self.host);
        if is_production && !self.is_documented() && !is_allowed() {
            return Err(format!(
                "must be {SANDBOX_HOST}, {PRODUCTION_HOST} or a host in imprint.host_allow"
            ));
        }
        if is_production && !self.has_tls() {
            return Err("must be https with the profile \"production\"".to_owned());
        }
        Ok(())
    }
}

/// A host in the setting `imprint.host_allow`, in its canonical spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AllowedHost(Host);

impl AllowedHost {
    pub(super) fn parse(raw: &str) -> Result<Self, String> {
        let host = Host::parse(raw);
        host.map(Self).map_err(|reason| {
            format!("must be a list of hosts without scheme, port and path: {raw} {reason}")
        })
    }
}

impl Host {
    /// Returns the environment of a host in Imprint's domain. Every host below the domain of the sandbox belongs to the
    /// sandbox.
    fn environment(&self) -> Option<(ImprintEnvironment, &'static str)> {
        let Self::Name(name) = self else { return None };
        let is_in = |domain: &str| {
            let below = name.strip_suffix(domain);
            below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
        };
        if is_in(SANDBOX_DOMAIN) {
            Some((ImprintEnvironment::Sandbox, "sandbox"))
        } else if is_in(DOMAIN) {
            Some((ImprintEnvironment::Production, "production"))
        } else {
            None
        }
    }

    /// Parses a host in the same way as the resolver of the operating system, for which `127.1` and `2130706433` are IP
    /// addresses.
    fn parse(raw: &str) -> Result<Self, String> {
        if let Some(address) = raw.strip_prefix('[').and_then(|raw| raw.strip_suffix(']')) {
            let address: Ipv6Addr = address.parse().map_err(|_invalid| INVALID_ADDRESS)?;
            return Ok(Self::Address(address.to_canonical()));
        }
        let name = raw.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let is_label = |label: &str| !label.is_empty() && label.bytes().all(is_part);
        if !name.split('.').all(is_label) {
            return Err("has an invalid host name".to_owned());
        }
        match name.rsplit('.').next() {
            Some(last) if is_number(last) => {
                let address = ipv4(name).ok_or(INVALID_ADDRESS)?;
                Ok(Self::Address(IpAddr::V4(address)))
            }
            Some(_) | None => Ok(Self::Name(name.to_owned())),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Address(IpAddr::V4(address)) => address.to_string(),
            Self::Address(IpAddr::V6(address)) => format!("[{address}]"),
        }
    }

    fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost",
            Self::Address(address) => address.is_loopback(),
        }
    }
}

/// Parses a host and an optional port.
fn host_and_port(authority: &str) -> Result<(Host, Option<u16>), String> {
    if authority.contains('@') {
        return Err("must not contain a user or a password".to_owned());
    }
    if authority.is_empty() || authority.contains(['/', '?', '#', '\\', ' ']) {
        return Err(
            "must be a scheme, a host and optionally a port, without a path or a query".to_owned(),
        );
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    };
    let port = port.map(|port| parse_port(port).ok_or("has an invalid port"));
    let port = port.transpose()?;
    Ok((Host::parse(host)?, port))
}

/// Parses a host and an optional port. Returns the host in its canonical spelling.
pub(super) fn authority(raw: &str) -> Result<(String, Option<u16>), String> {
    host_and_port(raw).map(|(host, port)| (host.text(), port))
}

/// Parses a port: a number without a sign, and not 0.
fn parse_port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port > 0)
}

/// The error for a host that looks like an IP address but is not valid.
const INVALID_ADDRESS: &str = "has an invalid IP address";

/// Returns whether the last label of a host is a number. Such a host is an IPv4 address, because no top-level domain is
/// a number.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x");
    label.bytes().all(|b| b.is_ascii_digit())
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Parses an IPv4 address with one to four decimal, octal (`0…`) or hexadecimal (`0x…`) numbers. The last number fills
/// all remaining bytes, as in the function `inet_aton` of the resolver.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| match (part.strip_prefix("0x"), part.strip_prefix('0')) {
        (Some(digits), _) => u32::from_str_radix(digits, 16).ok(),
        (None, Some(digits)) if !digits.is_empty() => u32::from_str_radix(digits, 8).ok(),
        (None, _) => part.parse().ok(),
    };
    let numbers: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = numbers.split_last()?;
    let mut bytes = Vec::new();
    for number in first {
        bytes.push(u8::try_from(*number).ok()?);
    }
    let rest = last.to_be_bytes();
    let (zeros, rest) = rest.split_at_checked(first.len())?;
    if zeros.iter().any(|byte| *byte != 0) || rest.is_empty() {
        return None;
    }
    bytes.extend_from_slice(rest);
    let bytes: [u8; 4] = bytes.try_into().ok()?;
    Some(bytes.into())
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
            "https://imprint_proxy:8443",
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
            "https://[::1]x",
            "https://::1",
            "https://[[::1]]",
            "https://dev..imprint.co",
            "https://dev%2eimprint.co",
            "https://\u{ff11}27.0.0.1",
            "https://10.0.0.1:443",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "http://127.0.0.1:99999",
            "http://127.0.0.1:+80",
            "http://127.0.0.1:0",
            "http://127.0.0.1:",
            "ftp://127.0.0.1",
            "https://",
        ] {
            assert!(BaseUrl::parse(bad).is_err(), "{bad}");
        }
    }

    /// FAULTS N85, K02
    #[test]
    fn an_address_is_understood_in_every_spelling() {
        for (raw, expected) in [
            ("http://2130706433:1", Ok("http://127.0.0.1:1")),
            ("https://127.1", Ok("https://127.0.0.1")),
            ("http://127.0.1", Ok("http://127.0.0.1")),
            ("http://0x7f.0.0.1", Ok("http://127.0.0.1")),
            ("http://0X7F000001", Ok("http://127.0.0.1")),
            ("http://0177.0.0.01", Ok("http://127.0.0.1")),
            ("http://017700000001", Ok("http://127.0.0.1")),
            ("http://127.0.0.1.", Ok("http://127.0.0.1")),
            ("http://[::ffff:127.0.0.1]", Ok("http://127.0.0.1")),
            ("http://[0:0::1]:7", Ok("http://[::1]:7")),
            ("http://LOCALHOST.:7", Ok("http://localhost:7")),
            ("https://Dev.Imprint.co.", Ok("https://dev.imprint.co")),
            ("https://1.example", Ok("https://1.example")),
            (
                "https://167772161",
                Err("must be a host name, not an IP address"),
            ),
            (
                "https://10.1",
                Err("must be a host name, not an IP address"),
            ),
            (
                "https://0xa9fea9fe",
                Err("must be a host name, not an IP address"),
            ),
            (
                "https://[::ffff:10.0.0.1]",
                Err("must be a host name, not an IP address"),
            ),
            (
                "http://0.1",
                Err("must be https; http is allowed for this machine only"),
            ),
            ("https://4294967296", Err(INVALID_ADDRESS)),
            ("https://1.2.3.4.5", Err(INVALID_ADDRESS)),
            ("https://127.256.1", Err(INVALID_ADDRESS)),
            ("https://127.0.0.256", Err(INVALID_ADDRESS)),
            ("https://127.0.65536", Err(INVALID_ADDRESS)),
            ("https://example.1", Err(INVALID_ADDRESS)),
            ("https://127.0.0.08", Err(INVALID_ADDRESS)),
            ("https://127.0.0.0x", Err(INVALID_ADDRESS)),
            ("https://[::1%25eth0]", Err(INVALID_ADDRESS)),
        ] {
            let url = BaseUrl::parse(raw);
            let text = url.as_ref().map(BaseUrl::as_str).map_err(String::as_str);
            assert_eq!(text, expected, "{raw}");
        }
    }

    /// FAULTS M11
    #[test]
    fn host_environment_and_profile_must_agree() {
        use ImprintEnvironment as Env;
        let check = |url: &str, profile, environment, expected: bool| {
            let allowed = [
                "PROXY.example.com.",
                "localhost",
                "[::1]",
                "api.sbx.imprint.co",
            ];
            let allowed = allowed.map(|host| AllowedHost::parse(host).unwrap());
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
        check("https://dev.imprint.co.", local, Env::Sandbox, false);
        check("http://127.0.0.1:1", local, Env::Sandbox, true);
        check("http://127.0.0.1:1", production, Env::Sandbox, false);
        // Another program could listen on the port of a program on this machine.
        check("http://localhost:1", production, Env::Production, false);
        check("https://localhost:1", production, Env::Production, true);
        check("https://localhost:1", production, Env::Local, false);
        check("http://[0::1]:1", production, Env::Production, false);
        check("https://[0:0::1]:1", production, Env::Production, true);
        check(
            "https://DEV.SBX.imprint.co.",
            production,
            Env::Production,
            false,
        );
        check(
            "https://api.sbx.imprint.co",
            production,
            Env::Production,
            false,
        );
        check("https://api.sbx.imprint.co", production, Env::Sandbox, true);
        check("https://api.imprint.co", local, Env::Sandbox, false);
        check("https://notimprint.co", local, Env::Sandbox, true);
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
