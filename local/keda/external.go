// Package scalers: the one name that KEDA's scaler for CloudWatch takes from the file of another scaler, which is left out.
package scalers

const externalMetricType = "External"
