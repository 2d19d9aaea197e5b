import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { compression, defineAlgorithm } from "vite-plugin-compression2";

export default defineConfig({
  plugins: [
    react(),
    // Compressed once, here, and not at every request: as small as Brotli makes it.
    compression({ include: /^assets\/.*\.js$/, algorithms: [defineAlgorithm("brotliCompress")] }),
  ],
  // The server reads config/ by itself, and there is nothing to copy beside the bundles.
  publicDir: false,
  build: {
    minify: "terser",
    terserOptions: { compress: { passes: 2 } },
    chunkSizeWarningLimit: 1000,
  },
  // Thousands of icons are installed and two are used: bundled, the server does not load the others when it starts.
  ssr: { noExternal: ["@mui/icons-material"] },
});
