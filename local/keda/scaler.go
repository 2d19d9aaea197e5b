// Scaler asks KEDA's own scaler for CloudWatch what it makes of triggers: it reads a JSON list of their metadata, and
// writes what each would be scaled on. Credentials come from the environment, as KEDA's operator gets them.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	"github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/kedacore/keda/v2/pkg/scalers"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
	autoscaling "k8s.io/api/autoscaling/v2"
)

type answer struct {
	Value  float64 `json:"value"`
	Target float64 `json:"target"`
	Active bool    `json:"active"`
	Error  string  `json:"error,omitempty"`
}

func ask(ctx context.Context, index int, metadata map[string]string) (answer, error) {
	scaler, err := scalers.NewAwsCloudwatchScaler(ctx, &scalersconfig.ScalerConfig{
		TriggerMetadata: metadata,
		TriggerIndex:    index,
		MetricType:      autoscaling.AverageValueMetricType,
		PodIdentity:     v1alpha1.AuthPodIdentity{Provider: v1alpha1.PodIdentityProviderAws},
	})
	if err != nil {
		return answer{}, err
	}
	defer scaler.Close(ctx)
	target := scaler.GetMetricSpecForScaling(ctx)[0].External.Target.AverageValue.AsApproximateFloat64()
	values, active, err := scaler.GetMetricsAndActivity(ctx, "metric")
	if err != nil {
		return answer{}, err
	}
	return answer{Value: values[0].Value.AsApproximateFloat64(), Target: target, Active: active}, nil
}

func main() {
	var triggers []map[string]string
	if err := json.NewDecoder(os.Stdin).Decode(&triggers); err != nil {
		log.Fatal(err)
	}
	answers := make([]answer, len(triggers))
	for index, metadata := range triggers {
		var err error
		if answers[index], err = ask(context.Background(), index, metadata); err != nil {
			answers[index].Error = err.Error()
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}
