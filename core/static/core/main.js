// The one entry. It names every module, so that the browser fetches them side by side and not one
// after the other as it meets them.

import "./formatting.js";
import "./clock.js";
import "./times.js";
import "./dom.js";
import "./charts.js";
import "./merge.js";
import "./sliders.js";
import "./render.js";
import "./messages.js";
import "./socket.js";
import "./refresh.js";
import "./commands.js";
import "./forms.js";
import "./events.js";
import "./relay.js";
import "./live.js";
import "./presence.js";
import "./page.js";
import "./link.js";
