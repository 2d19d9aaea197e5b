// What the browser runs: takes over the server's page.

import { hydrateRoot } from "react-dom/client";
import { Page } from "./page";

const root = document.getElementById("root");
const props = document.getElementById("props")?.textContent;
if (!root || !props) throw new Error("index.html must have elements with the ids root and props");
hydrateRoot(root, <Page {...JSON.parse(props)} />);
