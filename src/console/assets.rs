//! The files that pages name. The path of a file contains a digest of its content, so a browser may keep it for ever and
//! an upgrade of the bridge never shows old styles.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Path;
use sha2::{Digest as _, Sha256};

use super::problem::ConsoleProblem;

/// One file.
struct Asset {
    media_type: &'static str,
    content: &'static str,
    path: String,
}

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("assets/console.css");
    Asset::new("css", "text/css; charset=utf-8", content)
});
static ICON: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("assets/icon.svg");
    Asset::new("svg", "image/svg+xml", content)
});

impl Asset {
    fn new(extension: &str, media_type: &'static str, content: &'static str) -> Self {
        let digest = Sha256::digest(content);
        let digest: String = digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            media_type,
            content,
            path: format!("/assets/{digest}.{extension}"),
        }
    }
}

/// Returns the path of the style sheet.
pub(super) fn style_path() -> &'static str {
    &STYLE.path
}

/// Returns the path of the icon of the pages.
pub(super) fn icon_path() -> &'static str {
    &ICON.path
}

/// Answers `GET /assets/{name}`.
pub(super) async fn send(name: Path<String>) -> Result<HttpResponse, ConsoleProblem> {
    let path = format!("/assets/{name}");
    let assets = [&*STYLE, &*ICON];
    let asset = assets.into_iter().find(|asset| asset.path == path);
    let asset = asset.ok_or(ConsoleProblem::NotFound)?;
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .content_type(asset.media_type)
        .body(asset.content))
}
