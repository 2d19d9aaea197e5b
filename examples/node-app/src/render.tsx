// The page as HTML, with the few styles that it uses.

import createCache from "@emotion/cache";
import { CacheProvider } from "@emotion/react";
import createEmotionServer from "@emotion/server/create-instance";
import { renderToString } from "react-dom/server";
import { Page, type PageProps } from "./page";

export function render(template: string, props: PageProps): string {
  const cache = createCache({ key: "css" });
  const { extractCriticalToChunks, constructStyleTagsFromChunks } = createEmotionServer(cache);
  const page = renderToString(
    <CacheProvider value={cache}>
      <Page {...props} />
    </CacheProvider>,
  );
  const parts: Record<string, string> = {
    page,
    styles: constructStyleTagsFromChunks(extractCriticalToChunks(page)),
    // "<" could end the script element.
    props: JSON.stringify(props).replaceAll("<", "\\u003c"),
  };
  return template.replace(/<!--(page|styles|props)-->/g, (_, part: string) => parts[part]);
}
