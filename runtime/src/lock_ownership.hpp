// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace coir {

/// Until this has been called, no spin_lock belongs to a hub. Best while there are few threads: it is cheap then.
void prepare_lock_owners() noexcept;

} // namespace coir
