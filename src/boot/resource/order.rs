//! The order of a host that installs: what the deployer writes to which disk, and whom it tells. It has the token of
//! its install in its path, and goes to that host at its own address while that install is under way; whoever else
//! asks is told nothing of why not.

use super::{Inquiry, Lookup, LookupResult, Refusal, Resource, Transport};
use crate::boot::{
    event::{NoOrder, Reason, RequestedFile, Stage},
    method::Method,
    paths,
    snapshot::{BootSettings, DeployableDisk, Host, Snapshot},
    world::World,
};
use crate::model::{
    BootEntry, CallbackDoubt, DeployImage, DeployOrder, ImagePieces, ImageSum, Name, OrderVersion, SeedContent,
    SeedFile, Token,
};

/// The file by which an answer is known to be cloud-init's.
const USER_DATA: &str = "user-data";

impl<'a> Inquiry<'a> {
    /// Finds out whether the order that is asked for may be given, where one is.
    pub(super) fn take_order(&mut self, world: &mut World<'a, '_>) {
        let Some(token) = self.path.as_ref().ok().and_then(|path| token_of(path.as_str())) else {
            return;
        };
        let given = self.may_have_order(world, token);
        if let (Ok(_), Some(host), Method::Get) = (given, self.who.host(), self.request.method) {
            let date = world.date();
            world.arming.answer_fetched(date, host);
        }
        self.order = Some(given);
    }

    fn may_have_order(&self, world: &World<'a, '_>, token: Option<Token>) -> Result<Token, CallbackDoubt> {
        if self.request.transport != Transport::Http {
            return Err(CallbackDoubt::Path);
        }
        let token = token.ok_or(CallbackDoubt::Path)?;
        let host = self.who.host().ok_or(CallbackDoubt::Host)?;
        world.arming.check(world.date(), host, token)?;
        // The last word of an install may be said again for a while; nothing is written again.
        let is_under_way = world.arming.token(host) == Some(token) && self.installs().is_some();
        if !is_under_way {
            return Err(CallbackDoubt::Late);
        }
        self.authorise_install().map_err(|_| CallbackDoubt::Address)?;
        Ok(token)
    }

    /// The order, as JSON.
    pub(super) fn order_lookup(&self) -> Lookup {
        let peer = self.request.peer;
        let refused = |why| Refusal::Forbidden(Reason::OrderRefused { peer, why });
        let given = self.order.unwrap_or(Err(CallbackDoubt::Path)).map_err(refused);
        let order = given.and_then(|token| {
            let host = self.who.host().ok_or_else(|| refused(CallbackDoubt::Host))?;
            let http = paths::http_base(self.request.server, self.snapshot.ports);
            deploy_order(self.snapshot, host, (token, &http)).map_err(|why| {
                Refusal::ServerError(Reason::NoOrder {
                    host: host.name.clone(),
                    why,
                })
            })
        });
        let body = order.and_then(|order| {
            serde_json::to_string(&order).map_err(|error| {
                Refusal::ServerError(Reason::TemplateFailed {
                    error: error.to_string().into(),
                })
            })
        });
        Lookup {
            stage: Stage::System,
            file: RequestedFile::Order,
            result: body.map(|body| {
                LookupResult::from(Resource::Text {
                    body,
                    content_type: "application/json",
                })
            }),
        }
    }
}

/// The token in the path of an order; `Some(None)` where there is none that could be one.
#[expect(clippy::option_option, reason = "each level has its own meaning")]
fn token_of(path: &str) -> Option<Option<Token>> {
    let mut components = path.split('/');
    if components.next() != Some(paths::ORDER) {
        return None;
    }
    let _host = components.next();
    let token = components.next().and_then(Token::parse);
    Some(token.filter(|_| components.next().is_none()))
}

/// What a host is ordered to write.
///
/// # Errors
/// Why nothing can be.
pub fn deploy_order(snapshot: &Snapshot, host: &Host, told: (Token, &str)) -> Result<DeployOrder, NoOrder> {
    order_with(snapshot, host, told, |content| content.pieces.clone())
}

/// The same without the sums of its image's pieces, which are thousands: for whoever wants to know of every host of a
/// room which disk it would take. That they fit their image was seen when it was read.
///
/// # Errors
/// Why nothing can be written.
pub fn order_without_pieces(snapshot: &Snapshot, host: &Host, told: (Token, &str)) -> Result<DeployOrder, NoOrder> {
    order_with(snapshot, host, told, |_| None)
}

fn order_with(
    snapshot: &Snapshot,
    host: &Host,
    (token, http): (Token, &str),
    pieces: fn(&DeployableDisk) -> Option<ImagePieces>,
) -> Result<DeployOrder, NoOrder> {
    let settings = &host.settings;
    let order = DeployOrder {
        version: OrderVersion,
        image: deploy_image(snapshot, settings, http, pieces)?,
        disk: settings
            .disk
            .as_ref()
            .map(|disk| disk.value.clone())
            .unwrap_or_default(),
        grow: settings.grow.as_ref().is_none_or(|grow| grow.value),
        seed: seed(snapshot, settings, &paths::answer_base(http, host.name.as_str())),
        boot_entry: settings.image.as_ref().map(|image| BootEntry {
            label: image.value.to_string(),
            loader: None,
        }),
        then: settings.after.as_ref().map(|after| after.value).unwrap_or_default(),
        callback: paths::callback_base(http, &host.name, &token),
    };
    match order.contradiction() {
        None => Ok(order),
        Some(why) => Err(NoOrder::Contradiction { why }),
    }
}

fn deploy_image(
    snapshot: &Snapshot,
    settings: &BootSettings,
    http: &str,
    pieces: fn(&DeployableDisk) -> Option<ImagePieces>,
) -> Result<DeployImage, NoOrder> {
    let named = settings.image.as_ref().ok_or(NoOrder::NoImage)?;
    let name = || named.value.clone();
    let image = snapshot
        .images
        .get(&named.value)
        .ok_or_else(|| NoOrder::ImageMissing { image: name() })?;
    let disk = image.disk.as_ref().ok_or_else(|| NoOrder::NoDisk { image: name() })?;
    let content = image
        .deployable
        .as_ref()
        .ok_or_else(|| NoOrder::NotADisk { image: name() })?;
    Ok(DeployImage {
        url: paths::image_url(http, &image.name, &disk.file),
        format: content.format,
        bytes: disk.stamp.length,
        sha256: ImageSum(disk.sha256),
        unpacked: content.unpacked,
        pieces: pieces(content),
    })
}

/// The files of the machine's answer, where that is cloud-init's: they stay where they are, and the host fetches them.
fn seed(snapshot: &Snapshot, settings: &BootSettings, base: &str) -> Vec<SeedFile> {
    let answer: Option<&Name> = settings.answer.as_ref().map(|answer| &answer.value);
    let files = answer.and_then(|answer| snapshot.templates.answers.get(answer));
    let files = files.map_or(&[][..], Vec::as_slice);
    if !files.iter().any(|file| file == USER_DATA) {
        return Vec::new();
    }
    let at_top = files.iter().filter(|file| !file.contains('/'));
    at_top
        .map(|file| SeedFile {
            name: file.clone(),
            content: SeedContent::Url([base, file].concat()),
        })
        .collect()
}
