//! What a candidate inventory is held against: the generation in force, and who may install.

use super::AdminService;
use crate::admin::{
    Answers, Caller, Document,
    api::{AdminRefusal, NoParameters, PlanBasis},
    routes::GetPlanBasis,
};

impl Answers<GetPlanBasis> for AdminService {
    fn answer(&self, NoParameters {}: NoParameters, _: &Caller) -> Result<Document<PlanBasis>, AdminRefusal> {
        Ok(Document(self.reloader.plan_basis()))
    }
}
