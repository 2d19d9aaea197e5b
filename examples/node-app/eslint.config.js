import js from "@eslint/js";
import importPlugin from "eslint-plugin-import";
import jsxA11y from "eslint-plugin-jsx-a11y";
import react from "eslint-plugin-react";
import reactHooks from "eslint-plugin-react-hooks";
import { defineConfig } from "eslint/config";
import typescript from "typescript-eslint";

export default defineConfig({ ignores: ["dist"] }, js.configs.recommended, typescript.configs.recommended, {
  files: ["src/**"],
  extends: [
    react.configs.flat.recommended,
    react.configs.flat["jsx-runtime"],
    reactHooks.configs.flat.recommended,
    jsxA11y.flatConfigs.recommended,
    importPlugin.flatConfigs.typescript,
  ],
  settings: { react: { version: "detect" } },
  rules: { "import/order": ["error", { alphabetize: { order: "asc" } }] },
});
